package examples_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// openTerminal opens a pseudo terminal: what programs get, and the side of the user.
func openTerminal(t *testing.T) (program, user *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { user.Close() })
	var number, unlock int32
	for request, value := range map[uintptr]*int32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &unlock} {
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, user.Fd(), request, uintptr(unsafe.Pointer(value))); e != 0 {
			t.Fatal(e)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program, user
}

func TestOnATerminalAPartialResultChangesInPlace(t *testing.T) {
	t.Parallel()
	for program, lines := range map[string][]string{
		"recognizer":  {recordedText},
		"transcriber": {"0s to 1.91s: 你好，世界。", "2.01s to 4.67s: Hello, Go! ", "4.77s to 6.08s: 🎙"},
	} {
		t.Run(program, func(t *testing.T) {
			tty, user := openTerminal(t)
			cmd := command(t, program, "-speed", "-1", recording)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			tty.Close()
			var out bytes.Buffer
			_, _ = out.ReadFrom(user) // up to EIO, when the program has ended
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %s", err, out.String())
			}
			if !strings.Contains(out.String(), "\r\x1b[K你好") {
				t.Errorf("nothing changes in place: %q", out.String())
			}
			var left []string // on the screen
			for line := range strings.Lines(out.String()) {
				line = strings.TrimRight(line, "\r\n")
				left = append(left, line[strings.LastIndex(line, "\x1b[K")+1:])
			}
			for i, line := range left {
				left[i] = strings.TrimPrefix(line, "[K")
			}
			if got := strings.Join(left[1:], "\n"); got != strings.Join(lines, "\n") {
				t.Errorf("left on the screen: %q", left)
			}
		})
	}
}
