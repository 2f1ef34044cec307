package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

var screenshot = flag.String("screenshot", "", "`file` for the picture of README.md, such as ../../docs/captions.png")

// The words of recording are heard within this time, or never.
const patience = time.Minute

const (
	recording    = "../../testdata/test1.wav"
	recordedText = "你好，世界。Hello, Go! 🎙"
)

// chromium is the browser; "" if there is none.
var chromium = sync.OnceValue(func() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
})

// program is the example, built once.
var program = sync.OnceValues(func() (string, error) {
	file := filepath.Join(directory, "captions")
	if out, err := exec.Command("go", "build", "-C", "../..", "-o", file, "./examples/captions").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return file, nil
})

var directory string // of program, and what browsers leave; short, for a socket is in it

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if directory, err = os.MkdirTemp("", "nls"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(directory)
	os.Exit(code)
}

// startRelay starts the example as a process of its own. The address is where it
// serves its page.
func startRelay(t *testing.T, gateway *nlstest.Server, addr string) (address string, stop func()) {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cfg := gateway.Config()
	cmd := exec.Command(file, "-url", cfg.URL, "-appkey", cfg.AppKey, "-token", cfg.Token, "-addr", addr)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the relay: %v", err)
		}
		if t.Failed() {
			t.Logf("the relay: %s", &stderr)
		}
	})
	t.Cleanup(stop)
	address, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address), stop
}

// microphone is a WAV file of pcm after time for the page to open a microphone.
func microphone(t *testing.T, pcm []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "microphone.wav")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := nls.NewWAVWriter(f, nls.WAVFormat{SampleRate: 16000})
	if err != nil {
		t.Fatal(err)
	}
	w.Write(make([]byte, 2*2*16000))
	w.Write(pcm)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// recorded is the samples of recording.
func recorded(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open(recording)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pcm, _, err := nls.OpenWAV(f)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(pcm); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// page is a page in a browser of its own.
type page struct {
	t   *testing.T
	ctx context.Context
}

// open opens the page at an address in a browser with so many flags.
func open(t *testing.T, address, language string, flags ...chromedp.ExecAllocatorOption) *page {
	t.Helper()
	if chromium() == "" {
		t.Skip("there is no chromium: apt-get install chromium")
	}
	flags = append(append(chromedp.DefaultExecAllocatorOptions[:], flags...),
		chromedp.ExecPath(chromium()), chromedp.WindowSize(800, 500), chromedp.Flag("accept-lang", language),
		chromedp.Env("TMPDIR="+directory, "HOME="+directory)) // what it leaves goes with directory
	if os.Geteuid() == 0 {
		flags = append(flags, chromedp.NoSandbox) // it refuses to run as root with one
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), flags...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &page{t, ctx}
	p.do(chromedp.Navigate(address))
	return p
}

// plays are the flags for a microphone that plays a file. It begins when a page opens
// the microphone, and with it again at the end if it loops.
func plays(file string, loop bool) []chromedp.ExecAllocatorOption {
	if !loop {
		file += "%noloop"
	}
	return []chromedp.ExecAllocatorOption{
		chromedp.Flag("use-fake-device-for-media-stream", true),
		chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.Flag("use-file-for-fake-audio-capture", file),
	}
}

func (p *page) do(step chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, step); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) click() { p.t.Helper(); p.do(chromedp.Click("#button")) }

// wait waits until an expression is true on the page.
func (p *page) wait(expression string) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(patience))); err != nil {
		p.t.Fatalf("%s: %v\nthe page says %q, with the captions %q", expression, err, p.text("#status"), p.text("#captions"))
	}
}

func (p *page) waitForState(state string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.querySelector('#status').dataset.state === %s`, js(state)))
}

// waitForCaptions waits until the captions are text, all of them final.
func (p *page) waitForCaptions(text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.querySelector('#captions').textContent === %s && document.querySelector('#captions li.partial') === null`, js(text)))
}

func (p *page) text(selector string) string {
	p.t.Helper()
	text, err := chromedp.Run(p.ctx, chromedp.TextContent(selector))
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func js(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestTheWordsOfTheMicrophoneAreOnThePage(t *testing.T) {
	gateway := nlstest.NewServer(nlstest.Options{})
	defer gateway.Close()
	address, _ := startRelay(t, gateway, "127.0.0.1:0")
	p := open(t, address, "en-GB", plays(microphone(t, recorded(t)), false)...)
	if text := p.text("#button"); text != "Start" {
		t.Errorf("the button is %q", text)
	}
	p.click()
	p.wait(`document.querySelector('#captions li.partial') !== null`) // before it is final
	p.wait(`document.querySelector('#meter').value > -30`)
	p.waitForCaptions(recordedText)
	if text := p.text("#status"); text != "Listening" {
		t.Errorf("the page says %q", text)
	}
	p.click()
	p.waitForState("done")
	p.waitForCaptions(recordedText)
	if n := gateway.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions for one page", n)
	}
}

func TestNoWordIsLostWhereTheGatewayBreaksOff(t *testing.T) {
	gateway := nlstest.NewServer(nlstest.Options{})
	defer gateway.Close()
	address, _ := startRelay(t, gateway, "127.0.0.1:0")
	p := open(t, address, "zh-CN", plays(microphone(t, recorded(t)), false)...)
	if text := p.text("#button"); text != "开始" {
		t.Errorf("the button is %q", text)
	}
	p.click()
	p.wait(`document.querySelector('#captions li.partial')?.textContent.startsWith('Hell')`) // in the middle of the second sentence
	p.do(chromedp.Evaluate[chromedp.Void](`said = []; new MutationObserver(() => said.push(document.querySelector('#status').textContent)).
		observe(document.querySelector('#status'), {childList: true})`))
	gateway.CloseClientConnections()
	p.waitForCaptions(recordedText)
	p.wait(`said.join() === '识别中断，马上继续,正在聆听'`)
	if n := gateway.Stats().Connections; n != 2 {
		t.Errorf("%d connections, want a second", n)
	}
}

func TestThePageComesBackWhenTheRelayDoes(t *testing.T) {
	gateway := nlstest.NewServer(nlstest.Options{})
	defer gateway.Close()
	address, stop := startRelay(t, gateway, "127.0.0.1:0")
	p := open(t, address, "en", plays(microphone(t, recorded(t)), true)...)
	p.click()
	p.wait(`document.querySelector('#captions li')?.className === ''`) // the first is final
	stop()
	p.waitForState("reconnecting")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	startRelay(t, gateway, u.Host)
	p.waitForState("listening")
	p.wait(`document.querySelector('#captions').lastElementChild.textContent === '🎙'`) // of the next round at the latest
	p.click()
	p.waitForState("done")
}

func TestThePageSaysWhyThereIsNoMicrophone(t *testing.T) {
	gateway := nlstest.NewServer(nlstest.Options{})
	defer gateway.Close()
	address, _ := startRelay(t, gateway, "127.0.0.1:0")
	p := open(t, address, "en", chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("deny-permission-prompts", true))
	p.click()
	p.waitForState("NotAllowedError")
	if text := p.text("#status"); text != "The microphone may not be used. Allow it beside the address of the page." {
		t.Errorf("the page says %q", text)
	}
	if text := p.text("#button"); text != "Start" {
		t.Errorf("the button is %q", text)
	}
}

// resampled gives the worklet a second of a tone of full scale at a rate of the sound
// card. It returns the loudness of what comes out, 1 for what went in, and how often
// it crosses zero, in a second.
const resampled = `(async (rate, frequency) => {
	const context = new OfflineAudioContext(1, 1.1 * rate, rate);
	await context.audioWorklet.addModule('worklet.js');
	const buffer = new AudioBuffer({length: 1.1 * rate, sampleRate: rate});
	buffer.getChannelData(0).forEach((_, i, samples) => { samples[i] = Math.sin(2 * Math.PI * frequency * i / rate); });
	const tone = new AudioBufferSourceNode(context, {buffer});
	const node = new AudioWorkletNode(context, 'resampler', {channelCount: 1, channelCountMode: 'explicit'});
	const chunks = [];
	const enough = new Promise((resolve) => {
		node.port.onmessage = ({data}) => chunks.push(...new Int16Array(data.pcm)) >= 16000 && resolve();
	});
	tone.connect(node).connect(context.destination);
	tone.start();
	await context.startRendering();
	await enough;
	const pcm = chunks.slice(1600, 14400);
	return {
		loudness: Math.sqrt(pcm.reduce((sum, v) => sum + v * v, 0) / pcm.length * 2) / 32768,
		crossings: pcm.filter((v, i) => i > 0 && (v < 0) !== (pcm[i - 1] < 0)).length / 0.8,
	};
})(%d, %d)`

func TestTheWorkletResamplesWhatCanBeHeardAt16kHzAndNothingElse(t *testing.T) {
	gateway := nlstest.NewServer(nlstest.Options{})
	defer gateway.Close()
	address, _ := startRelay(t, gateway, "127.0.0.1:0")
	p := open(t, address, "en")
	type result struct{ Loudness, Crossings float64 }
	for _, rate := range []int{8000, 16000, 22050, 44100, 48000, 96000} {
		for _, frequency := range []int{300, 1000, 3400, 6500, 9000, 10000} {
			if 2*frequency >= rate {
				continue
			}
			ctx, cancel := context.WithTimeout(p.ctx, patience)
			got, err := chromedp.Run(ctx, chromedp.Evaluate[result](fmt.Sprintf(resampled, rate, frequency), chromedp.EvalAwaitPromise))
			cancel()
			switch {
			case err != nil:
				t.Fatal(err)
			case frequency > 8000 && got.Loudness > 0.01:
				t.Errorf("a tone of %d Hz at %d Hz comes through, %.4f as loud", frequency, rate, got.Loudness)
			case frequency < 8000 && (math.Abs(got.Loudness-1) > 0.02 || math.Abs(got.Crossings-float64(2*frequency)) > 3):
				t.Errorf("a tone of %d Hz at %d Hz comes out %.4f as loud, with %.0f crossings", frequency, rate, got.Loudness, got.Crossings)
			}
		}
	}
}

// TestScreenshot makes the picture of README.md.
func TestScreenshot(t *testing.T) {
	if *screenshot == "" {
		t.Skip("no -screenshot")
	}
	gateway := nlstest.NewServer(nlstest.Options{})
	defer gateway.Close()
	client, err := nls.NewClient(gateway.Config())
	if err != nil {
		t.Fatal(err)
	}
	var pcm bytes.Buffer
	for _, sentence := range []string{"大家好，欢迎来到今天的讲座。", "Captions change while you speak.", "一句话说完，字幕就固定下来。"} {
		if err := client.Synthesize(t.Context(), &pcm, nls.SynthesisParams{Text: sentence}); err != nil {
			t.Fatal(err)
		}
		pcm.Write(make([]byte, 32000)) // a pause
	}
	address, _ := startRelay(t, gateway, "127.0.0.1:0")
	p := open(t, address, "zh-CN", plays(microphone(t, pcm.Bytes()), false)...)
	p.click()
	p.wait(`document.querySelector('#captions li.partial')?.textContent.startsWith('一句话说完，')`)
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*screenshot, png, 0o644); err != nil {
		t.Fatal(err)
	}
}
