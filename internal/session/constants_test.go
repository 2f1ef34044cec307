package session

import (
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/constant"
)

// As TestConstantsAreThoseOfTheServiceAndOfTheDocuments of package nls.
func TestConstantsAreThoseOfTheService(t *testing.T) {
	constant.Check(t, []constant.Row{
		{"warmLife", warmLife, 18 * time.Second, "protocol §1.5: 23 s"},
		{"reuseLife", reuseLife, 8 * time.Second, "protocol §1.7: 10 s"},
		{"poolPing", poolPing, 8 * time.Second, "protocol §1.4"},
		{"poolPong", poolPong, 5 * time.Second, "before the next ping"},
		{"poolMinPause", poolMinPause, time.Second, "ours"},
		{"poolMaxPause", poolMaxPause, 30 * time.Second, "ours"},
		{"maxFrame", maxFrame, 16 << 10, "protocol §1.8"},
		{"readLimit", readLimit, 1 << 20, "protocol §1.8: 64 KiB, some ten times over"},
		{"sendBuffer", sendBuffer, 64 << 10, "two seconds of audio"},
		{"smallestBuffer", smallestBuffer, 1 << 10, "gorilla's header"},
		{"handshakeLimit", handshakeLimit, 256 << 10, "ours"},
		{"statusLine", statusLine, 64, "ours"},
		{"bodyTimeout", bodyTimeout, time.Second, "ours"},
		{"closeTimeout", closeTimeout, time.Second, "ours"},
		{"grace", grace, time.Second, "ours"},
		{"lastResort", lastResort, 10 * time.Second, "ours"},
		{"deliveryCost", deliveryCost, 512, "ours"},
		{"observationCost", observationCost, 512, "ours"},
		{"statusAccessDenied", statusAccessDenied, 40000001, "protocol §7.1"},
		{"statusIdleTimeout", statusIdleTimeout, 40000004, "protocol §7.1"},
	})
}
