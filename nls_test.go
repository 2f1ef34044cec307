package nls_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/nlsgo/nls"
)

func TestNewClientNamesWhatIsWrong(t *testing.T) {
	good := nls.Config{AppKey: "k", Token: "t"}
	with := func(change func(*nls.Config)) nls.Config {
		cfg := good
		change(&cfg)
		return cfg
	}
	for _, c := range []struct {
		param string // "" means that the Config is fine
		cfg   nls.Config
	}{
		{"", good},
		{"", with(func(c *nls.Config) { c.URL = "ws://127.0.0.1:1/ws/v1" })},
		{"", with(func(c *nls.Config) { c.URL = "wss://example.com/ws/v1?token=x" })},
		{"", with(func(c *nls.Config) { c.Region = "cn-shenzhen"; c.Internal = true })},
		{"", with(func(c *nls.Config) { c.Token = ""; c.AccessKeyID, c.AccessKeySecret = "i", "s" })},
		{"", with(func(c *nls.Config) { c.Token = ""; c.TokenSource = nls.StaticToken("t") })},
		{"", with(func(c *nls.Config) { c.StopTimeout, c.WriteTimeout = -1, -1 })},
		{"AppKey", with(func(c *nls.Config) { c.AppKey = "" })},
		{"Token", with(func(c *nls.Config) { c.Token = "" })},
		{"AccessKeySecret", with(func(c *nls.Config) { c.Token, c.AccessKeyID = "", "i" })},
		{"URL", with(func(c *nls.Config) { c.URL = "https://example.com/ws/v1" })},
		{"URL", with(func(c *nls.Config) { c.URL = "ws://" })},
		{"URL", with(func(c *nls.Config) { c.URL = "example.com" })},
		{"URL", with(func(c *nls.Config) { c.URL = "wss://exa mple.com/?token=marked-token" })},
		{"URL", with(func(c *nls.Config) { c.URL = "wss://user:marked-token@example.com/ws/v1" })},
		{"Header", with(func(c *nls.Config) { c.Header = http.Header{"Sec-Websocket-Key": {"x"}} })},
		{"", with(func(c *nls.Config) { c.Header = http.Header{"X-Custom": {"x"}} })},
		{"Region", with(func(c *nls.Config) { c.Region = "cn-hangzhou" })},
		{"Internal", with(func(c *nls.Config) { c.Region, c.Internal = "ap-southeast-1", true })},
		{"MaxPendingBytes", with(func(c *nls.Config) { c.MaxPendingBytes = -1 })},
	} {
		client, err := nls.NewClient(c.cfg)
		if c.param == "" {
			if err != nil || client == nil {
				t.Errorf("%v: %v", c.cfg, err)
			}
			continue
		}
		var e *nls.ParamError
		if !errors.As(err, &e) || e.Param != c.param || client != nil {
			t.Errorf("%v: got %v, want a complaint about %s", c.cfg, err, c.param)
		}
		if strings.Contains(fmt.Sprintf("%v %#v", err, err), "marked-token") {
			t.Errorf("%v shows the token", err)
		}
	}
}

// dialed is the address that a session of cfg connects to.
func dialed(t *testing.T, cfg nls.Config, start func(*nls.Client) error) string {
	var addr string
	stop := errors.New("stop")
	cfg.AppKey, cfg.Token = "k", "token"
	cfg.NetDialContext = func(_ context.Context, _, a string) (net.Conn, error) {
		addr = a
		return nil, stop
	}
	c, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := start(c); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	return addr
}

func TestRegionsPickTheGatewaysOfProtocol11(t *testing.T) {
	transcribe := func(c *nls.Client) error {
		return c.NewTranscriber(nls.TranscriberHandlers{}).Start(t.Context(), nls.TranscriptionParams{})
	}
	stream := func(c *nls.Client) error {
		return c.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{}).Start(t.Context(), nls.StreamSynthesisParams{})
	}
	for _, c := range []struct {
		region     string
		internal   bool
		transcribe string
		stream     string
	}{
		{"", false, "nls-gateway.cn-shanghai.aliyuncs.com:443", "nls-gateway-cn-beijing.aliyuncs.com:443"},
		{"cn-shanghai", false, "nls-gateway.cn-shanghai.aliyuncs.com:443", "nls-gateway.cn-shanghai.aliyuncs.com:443"},
		{"cn-beijing", false, "nls-gateway-cn-beijing.aliyuncs.com:443", "nls-gateway-cn-beijing.aliyuncs.com:443"},
		{"cn-shenzhen", false, "nls-gateway-cn-shenzhen.aliyuncs.com:443", "nls-gateway-cn-shenzhen.aliyuncs.com:443"},
		{"ap-southeast-1", false, "nls-gateway-ap-southeast-1.aliyuncs.com:443", "nls-gateway-ap-southeast-1.aliyuncs.com:443"},
		{"", true, "nls-gateway-cn-shanghai-internal.aliyuncs.com:80", "nls-gateway-cn-beijing-internal.aliyuncs.com:80"},
		{"cn-shenzhen", true, "nls-gateway-cn-shenzhen-internal.aliyuncs.com:80", "nls-gateway-cn-shenzhen-internal.aliyuncs.com:80"},
	} {
		cfg := nls.Config{Region: c.region, Internal: c.internal}
		if got := dialed(t, cfg, transcribe); got != c.transcribe {
			t.Errorf("region %q, internal %v: transcriber dials %s", c.region, c.internal, got)
		}
		if got := dialed(t, cfg, stream); got != c.stream {
			t.Errorf("region %q, internal %v: stream synthesizer dials %s", c.region, c.internal, got)
		}
		for namespace, want := range map[string]string{"FlowingSpeechSynthesizer": c.stream, "SpeechSynthesizer": c.transcribe} {
			common := func(c *nls.Client) error {
				return c.NewCommonProto(namespace, nls.CommonHandlers{}).Start(t.Context(), "StartSynthesis", nls.CommonParams{})
			}
			if got := dialed(t, cfg, common); got != want {
				t.Errorf("region %q, internal %v: CommonProto of %s dials %s", c.region, c.internal, namespace, got)
			}
		}
	}
	if got := dialed(t, nls.Config{URL: "ws://gw.example:8080/ws/v1", Region: "cn-beijing"}, stream); got != "gw.example:8080" {
		t.Errorf("with a URL it dials %s", got)
	}
}

func TestConfigFromEnv(t *testing.T) {
	for k, v := range map[string]string{
		"NLS_URL": "u", "NLS_APPKEY": "k", "NLS_TOKEN": "t", "ALIBABA_CLOUD_ACCESS_KEY_ID": "i",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s", "ALIBABA_CLOUD_SECURITY_TOKEN": "st",
	} {
		t.Setenv(k, v)
	}
	c := nls.ConfigFromEnv()
	got := []string{c.URL, c.AppKey, c.Token, c.AccessKeyID, c.AccessKeySecret, c.SecurityToken}
	if fmt.Sprint(got) != "[u k t i s st]" {
		t.Error(got)
	}
}

func TestConfigAndClientPrintWithoutSecrets(t *testing.T) {
	cfg := nls.Config{
		URL: "wss://example.com/ws/v1?token=marked-query", AppKey: "appkey", Token: "marked-token",
		AccessKeyID: "marked-id", AccessKeySecret: "marked-secret", SecurityToken: "marked-sts",
	}
	client, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tr := client.NewTranscriber(nls.TranscriberHandlers{})
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "config", cfg, "client", client)
	var b strings.Builder
	for _, v := range []any{cfg, &cfg, client, tr} {
		fmt.Fprintf(&b, "%v %+v %#v %s\n", v, v, v, v)
		j, _ := json.Marshal(v)
		b.Write(j)
	}
	text := b.String() + log.String()
	if i := strings.Index(text, "marked"); i >= 0 {
		t.Errorf("a secret is printed: %s", text[max(0, i-200):i+50])
	}
	if !strings.Contains(text, `AppKey:"appkey"`) || !strings.Contains(text, "wss://example.com/ws/v1") {
		t.Errorf("printed %s", text)
	}
}
