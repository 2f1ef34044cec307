package nls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// paramOf is the Param of the *ParamError in err, or the text of err.
func paramOf(err error) string {
	if e, ok := errors.AsType[*nls.ParamError](err); ok && errors.Is(err, nls.ErrInvalidParameter) {
		return e.Param
	}
	return fmt.Sprint(err)
}

// startOf starts and drops a session of cfg and returns the error.
func startOf(t *testing.T, cfg nls.Config) error {
	t.Helper()
	client, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rec := client.NewRecognizer(nls.RecognizerHandlers{})
	err = rec.Start(t.Context(), nls.RecognitionParams{})
	rec.Shutdown()
	<-rec.Done()
	return err
}

// accept serves every connection to a port of its own until the test ends.
func accept(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func TestConfigFromEnvTakesTheNamesOfTheVendorsSamplesToo(t *testing.T) {
	names := []string{
		"NLS_URL", "NLS_REGION", "NLS_APPKEY", "NLS_TOKEN", "NLS_GATEWAY_URL", "NLS_APP_KEY", "ALIYUN_AK_ID", "ALIYUN_AK_SECRET",
		"ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN",
	}
	for name, c := range map[string]struct {
		env  map[string]string
		want nls.Config
	}{
		"nothing": {nil, nls.Config{}},
		"our own": {
			map[string]string{"NLS_URL": "u", "NLS_REGION": "r", "NLS_APPKEY": "k", "NLS_TOKEN": "t"},
			nls.Config{URL: "u", Region: "r", AppKey: "k", Token: "t"},
		},
		"the vendor's": {
			map[string]string{"NLS_GATEWAY_URL": "u", "NLS_APP_KEY": "k", "ALIYUN_AK_ID": "i", "ALIYUN_AK_SECRET": "s"},
			nls.Config{URL: "u", AppKey: "k", AccessKeyID: "i", AccessKeySecret: "s"},
		},
		"both": {
			map[string]string{
				"NLS_URL": "u", "NLS_APPKEY": "k", "ALIBABA_CLOUD_ACCESS_KEY_ID": "i", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s",
				"NLS_GATEWAY_URL": "-", "NLS_APP_KEY": "-", "ALIYUN_AK_ID": "-", "ALIYUN_AK_SECRET": "-",
			},
			nls.Config{URL: "u", AppKey: "k", AccessKeyID: "i", AccessKeySecret: "s"},
		},
		"white space": {
			map[string]string{
				"NLS_URL": " u\n", "NLS_REGION": "\tr", "NLS_APPKEY": "\ufeffk\u3000", "NLS_TOKEN": "t\r\n",
				"ALIBABA_CLOUD_ACCESS_KEY_ID": " i", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s ", "ALIBABA_CLOUD_SECURITY_TOKEN": "\nst\n",
			},
			nls.Config{URL: "u", Region: "r", AppKey: "k", Token: "t", AccessKeyID: "i", AccessKeySecret: "s", SecurityToken: "st"},
		},
		"blank is not set": {
			map[string]string{"NLS_URL": " ", "NLS_GATEWAY_URL": "u", "NLS_APPKEY": "\n", "NLS_APP_KEY": "k"},
			nls.Config{URL: "u", AppKey: "k"},
		},
		"halves of two keys": {
			map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "i", "ALIYUN_AK_SECRET": "s"},
			nls.Config{AccessKeyID: "i"},
		},
		"a security token is of its own key": {
			map[string]string{"ALIBABA_CLOUD_SECURITY_TOKEN": "st", "ALIYUN_AK_ID": "i", "ALIYUN_AK_SECRET": "s"},
			nls.Config{AccessKeyID: "i", AccessKeySecret: "s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, name := range names {
				t.Setenv(name, c.env[name])
			}
			if got := nls.ConfigFromEnv(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %s, want %s", fields(got), fields(c.want))
			}
		})
	}
}

// fields are those of a Config that ConfigFromEnv sets.
func fields(c nls.Config) string {
	return fmt.Sprintf("%q", []string{c.URL, c.Region, c.AppKey, c.Token, c.AccessKeyID, c.AccessKeySecret, c.SecurityToken})
}

// pad is what comes along when one copies from a file, a console or a web page.
func pad(s string) string { return "\ufeff \t" + s + "\u00a0\u200b\r\n" }

func TestWhiteSpaceAroundWhatIsPastedIsIgnored(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{AccessKeys: map[string]string{"STS.id": "secret"}})
	defer server.Close()
	for name, change := range map[string]func(*nls.Config){
		"token":      func(c *nls.Config) { c.Token = pad(c.Token) },
		"access key": func(c *nls.Config) { c.Token = " " },
		"TokenSource": func(c *nls.Config) {
			token := c.Token
			c.TokenSource, c.Token = nls.StaticToken(pad(token)), ""
		},
		"NewTokenSource": func(c *nls.Config) {
			key := nls.AccessKey{ID: c.AccessKeyID, Secret: c.AccessKeySecret, SecurityToken: c.SecurityToken}
			c.TokenSource, c.Token = nls.NewTokenSource(key, c.TokenOptions), ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := server.Config()
			cfg.URL, cfg.AppKey, cfg.Region = pad(cfg.URL), pad(cfg.AppKey), pad("cn-beijing")
			cfg.AccessKeyID, cfg.AccessKeySecret, cfg.SecurityToken = pad(cfg.AccessKeyID), pad(cfg.AccessKeySecret), pad(cfg.SecurityToken)
			change(&cfg)
			if err := startOf(t, cfg); err != nil {
				t.Error(err)
			}
		})
	}
}

// fickle is a TokenSource that has a token until it is told that it is refused.
type fickle struct {
	tokens      []string
	invalidated []string
}

func (f *fickle) Token(context.Context) (*nls.Token, error) {
	return &nls.Token{Value: f.tokens[0]}, nil
}

func (f *fickle) Invalidate(t *nls.Token) {
	f.invalidated = append(f.invalidated, t.Value)
	if t.Value == f.tokens[0] {
		f.tokens = f.tokens[1:]
	}
}

func TestASourceIsToldOfARefusedTokenAsItHasIt(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	cfg := server.Config()
	old, token := pad("old"), cfg.Token
	f := &fickle{tokens: []string{old, token}}
	cfg.TokenSource = f
	if err := startOf(t, cfg); err != nil || !slices.Equal(f.invalidated, []string{old}) {
		t.Errorf("%v, invalidated %q", err, f.invalidated)
	}
	f = &fickle{tokens: []string{old, token}}
	cfg.TokenSource = nls.CacheTokens(f, 0)
	if err := startOf(t, cfg); err != nil || !slices.Equal(f.invalidated, []string{old}) {
		t.Errorf("cached: %v, invalidated %q", err, f.invalidated)
	}
	f = &fickle{tokens: []string{pad(token)}}
	cfg.TokenSource = f
	client, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rec := client.NewRecognizer(nls.RecognizerHandlers{})
	for _, tokens := range [][]string{{pad(token)}, {"bad", token}} {
		f.tokens = tokens
		if err := rec.Start(t.Context(), nls.RecognitionParams{}); err != nil {
			t.Error(err)
		}
		rec.Shutdown()
	}
	if <-rec.Done(); !slices.Equal(f.invalidated, []string{"bad"}) {
		t.Errorf("after another token: invalidated %q", f.invalidated)
	}
}

func TestWhatNoHeaderCanCarryIsABadParameter(t *testing.T) {
	for _, bad := range []string{"mar\nked", "mar\r\nked: x", "mar\x00ked", "mar\x7fked", "mar\x1bked"} {
		for param, set := range map[string]func(*nls.Config){
			"AppKey":          func(c *nls.Config) { c.AppKey = bad },
			"Token":           func(c *nls.Config) { c.Token = bad },
			"AccessKeyID":     func(c *nls.Config) { c.AccessKeyID = bad },
			"AccessKeySecret": func(c *nls.Config) { c.AccessKeySecret = bad },
			"SecurityToken":   func(c *nls.Config) { c.SecurityToken = bad },
			"URL":             func(c *nls.Config) { c.URL = "ws://h/?token=" + url.QueryEscape(bad) },
		} {
			cfg := nls.Config{AppKey: "k", Token: "t", AccessKeyID: "i", AccessKeySecret: "s", SecurityToken: "st"}
			set(&cfg)
			_, err := nls.NewClient(cfg)
			if paramOf(err) != param || strings.Contains(err.Error(), "ked") {
				t.Errorf("%s %q: %v", param, bad, err)
			}
		}
		sent := false
		err := startOf(t, nls.Config{
			AppKey: "k", TokenSource: nls.StaticToken(bad),
			NetDialContext: func(context.Context, string, string) (net.Conn, error) { sent = true; return nil, io.EOF },
		})
		if paramOf(err) != "Token" || strings.Contains(err.Error(), "ked") || sent {
			t.Errorf("TokenSource %q: %v", bad, err)
		}
		for param, key := range map[string]nls.AccessKey{
			"AccessKey.ID": {ID: bad, Secret: "s"}, "AccessKey.Secret": {ID: "i", Secret: bad},
			"AccessKey.SecurityToken": {ID: "i", Secret: "s", SecurityToken: bad},
		} {
			if _, err := nls.GetToken(t.Context(), key, nil); paramOf(err) != param || strings.Contains(err.Error(), "ked") {
				t.Errorf("%s %q: %v", param, bad, err)
			}
			err := startOf(t, nls.Config{AppKey: "k", TokenSource: nls.NewTokenSource(key, nil)})
			if paramOf(err) != param || strings.Count(err.Error(), "nls: ") != 1 {
				t.Errorf("%s %q: %v", param, bad, err)
			}
		}
	}
	if err := startOf(t, nls.Config{AppKey: "k", TokenSource: nls.StaticToken(" \n")}); err == nil || !strings.Contains(err.Error(), "returned none") {
		t.Errorf("a blank token: %v", err)
	}
	for _, good := range []string{"a\tb", "schlüssel", `q"uo'te\`, "a b"} {
		if _, err := nls.NewClient(nls.Config{AppKey: good, Token: good}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestHeaderNamesAreCheckedInEverySpelling(t *testing.T) {
	for _, name := range []string{"Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Extensions"} {
		for _, name := range []string{name, strings.ToLower(name), strings.ToUpper(name), http.CanonicalHeaderKey(name)} {
			for _, values := range [][]string{{"x"}, {""}, {}} {
				_, err := nls.NewClient(nls.Config{AppKey: "k", Token: "t", Header: http.Header{name: values}})
				if paramOf(err) != "Header" {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	// One token is sent, whatever else a header has or the caller does with it later.
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header; w.WriteHeader(503) }))
	defer server.Close()
	mine := []string{"d"}
	header := http.Header{"x-nls-token": {"a"}, "X-NLS-TOKEN": {"b"}, "X-Nls-Token": {"c"}, "x-mine": mine}
	client, err := nls.NewClient(nls.Config{URL: "ws" + server.URL[4:], AppKey: "k", Token: "t", Header: header})
	if err != nil {
		t.Fatal(err)
	}
	mine[0] = "e"
	_ = client.NewRecognizer(nls.RecognizerHandlers{}).Start(t.Context(), nls.RecognitionParams{})
	if tokens := got.Values("X-NLS-Token"); !slices.Equal(tokens, []string{"t"}) || got.Get("X-Mine") != "d" {
		t.Errorf("sent %q", got)
	}
}

func TestURLsThatLeadNowhereAreBadParametersAndShowNoSecret(t *testing.T) {
	for _, c := range []struct {
		url   string
		shown string // in the error, if there is to be one
	}{
		{"ws://h", ""}, {"wss://h:65535/ws/v1?x=y", ""}, {"wss://[::1]:1/", ""}, {"ws://h:/", ""},
		{"ws://", `"ws:"`}, {"ws://:80/ws/v1", `"ws://:80/ws/v1"`}, {"ws:///ws/v1", `"ws:///ws/v1"`},
		{"ws://h:65536/ws", `"ws://h:65536/ws"`}, {"ws://h:0/", `"ws://h:0/"`}, {"ws://h:99999999999999999999/", `"ws://h:99999999999999999999/"`},
		{"http://h/x?token=marked#marked", `"http://h/x"`}, {"h/x", `"h/x"`}, {"h:80/x", ""},
		{"ws://user:marked@h/x", `"ws://h/x"`}, {"ws://marked@h/x", `"ws://h/x"`}, {"ftp://user:marked@h/x?marked#marked", `"ftp://h/x"`},
		{"ws://user:mar ked@h/x", "URL:"}, {"user:marked@h/x", "URL:"}, {"marked@h/x", "URL:"}, {"ws:user:marked@h", "URL:"},
		{"//user:marked@h/x", `"//h/x"`}, {"ws://h/\x00marked", "URL:"}, {"ws://h/%zz?token=marked", "URL:"},
		{"ws://h/?token=marked%zz", `"ws://h/"`}, {"ws://h/?token=marked&token=x", `"ws://h/"`}, {"ws://h/?a;token=marked", `"ws://h/"`},
	} {
		_, err := nls.NewClient(nls.Config{AppKey: "k", Token: "t", URL: c.url})
		bad := c.shown != "" || c.url == "h:80/x"
		switch {
		case bad != (err != nil):
			t.Errorf("%q: %v", c.url, err)
		case !bad:
		case paramOf(err) != "URL" || !strings.Contains(err.Error(), c.shown) || strings.Contains(fmt.Sprintf("%v %#v", err, err), "ked"):
			t.Errorf("%q: %v", c.url, err)
		}
		if text := fmt.Sprintf("%v %#v", nls.Config{URL: c.url}, nls.Config{URL: c.url}); strings.Contains(text, "ked") {
			t.Errorf("%q prints as %s", c.url, text)
		}
	}
}

func TestTraceShowsAURLWithoutWhatMayBeASecret(t *testing.T) {
	var urls []string
	_ = startOf(t, nls.Config{
		URL: "ws://h:81/ws/v1?token=marked#marked", AppKey: "k", Token: "t",
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF },
		Trace: &nls.Trace{
			DialStart: func(d nls.TraceDial) { urls = append(urls, d.URL) }, DialDone: func(d nls.TraceDial) { urls = append(urls, d.URL) },
		},
	})
	if !slices.Equal(urls, []string{"ws://h:81/ws/v1", "ws://h:81/ws/v1"}) {
		t.Errorf("%q", urls)
	}
}

func TestWhatIsBadForTokenLookupsIsSaidByNewClient(t *testing.T) {
	for _, c := range []struct {
		param string
		cfg   nls.Config
	}{
		{"Region", nls.Config{URL: "ws://h/", Region: "moon-1"}},
		{"Region", nls.Config{TokenOptions: &nls.TokenOptions{Region: "moon-1"}}},
		{"", nls.Config{TokenOptions: &nls.TokenOptions{Region: "moon-1", Endpoint: "h"}}},
		{"Endpoint", nls.Config{TokenOptions: &nls.TokenOptions{Endpoint: "http://h"}}},
		{"Endpoint", nls.Config{TokenOptions: &nls.TokenOptions{Endpoint: "h:65536"}}},
		{"Endpoint", nls.Config{TokenOptions: &nls.TokenOptions{Endpoint: "h:0"}}},
		{"Endpoint", nls.Config{TokenOptions: &nls.TokenOptions{Endpoint: "user:marked@h"}}},
		{"Endpoint", nls.Config{TokenOptions: &nls.TokenOptions{Endpoint: "h?marked#marked"}}},
		{"AccessKeyID", nls.Config{AccessKeySecret: "s"}},
		{"AccessKeySecret", nls.Config{AccessKeyID: "i"}},
	} {
		for _, token := range []string{"", "t"} {
			cfg := c.cfg
			cfg.AppKey, cfg.Token = "k", token
			if key := strings.HasPrefix(c.param, "AccessKey"); key && token != "" {
				continue // a token wins
			} else if !key {
				cfg.AccessKeyID, cfg.AccessKeySecret = "i", "s"
			}
			_, err := nls.NewClient(cfg)
			if (err == nil) != (c.param == "") || err != nil && paramOf(err) != c.param || strings.Contains(fmt.Sprint(err), "marked") {
				t.Errorf("%v: %v, want a complaint about %s", cfg, err, c.param)
			}
		}
	}
}

// lookupOf is where, and for which region, a session of cfg asks for a token.
func lookupOf(t *testing.T, cfg nls.Config) string {
	t.Helper()
	var at string
	cfg.AppKey, cfg.AccessKeyID, cfg.AccessKeySecret = "k", "i", "s"
	opts := nls.TokenOptions{}
	if cfg.TokenOptions != nil {
		opts = *cfg.TokenOptions
	}
	opts.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		_ = r.ParseForm()
		at = r.URL.Host + " " + r.PostForm.Get("Version") + " " + r.PostForm.Get("RegionId")
		return nil, io.EOF
	})
	cfg.TokenOptions = &opts
	if err := startOf(t, cfg); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	return at
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestLookupsGoToTheSiteOfTheGateway(t *testing.T) {
	const (
		mainland      = "nls-meta.cn-shanghai.aliyuncs.com 2019-02-28 cn-shanghai"
		international = "nlsmeta.ap-southeast-1.aliyuncs.com 2019-07-17 ap-southeast-1"
	)
	for _, c := range []struct {
		cfg  nls.Config
		want string
	}{
		{nls.Config{}, mainland},
		{nls.Config{Region: "cn-beijing"}, mainland},
		{nls.Config{Region: "ap-southeast-1"}, international},
		{nls.Config{Region: "ap-southeast-1", TokenOptions: &nls.TokenOptions{Version: "v"}}, "nlsmeta.ap-southeast-1.aliyuncs.com v ap-southeast-1"},
		{nls.Config{Region: "ap-southeast-1", TokenOptions: &nls.TokenOptions{Endpoint: "h"}}, "h 2019-07-17 ap-southeast-1"},
		{nls.Config{Region: "ap-southeast-1", TokenOptions: &nls.TokenOptions{Region: "cn-shanghai"}}, mainland},
		{nls.Config{URL: "wss://nls-gateway-ap-southeast-1.aliyuncs.com/ws/v1"}, international},
		{nls.Config{URL: "wss://NLS-Gateway.AP-Southeast-1.aliyuncs.com.:443/ws/v1"}, international},
		{nls.Config{URL: "wss://nls-gateway-ap-southeast-1.aliyuncs.com/ws/v1", Region: "cn-shanghai"}, mainland},
		{nls.Config{URL: "wss://nls-gateway-cn-beijing.aliyuncs.com/ws/v1"}, mainland},
		{nls.Config{URL: "wss://ap-southeast-1.example.com/ws/v1"}, mainland},
		{nls.Config{URL: "wss://example.com/ap-southeast-1.aliyuncs.com"}, mainland},
	} {
		if got := lookupOf(t, c.cfg); got != c.want {
			t.Errorf("%v asks %s, want %s", c.cfg, got, c.want)
		}
	}
}

func TestAURLWithATokenNeedsNoOtherCredentials(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	cfg := server.Config()
	withToken := nls.Config{URL: cfg.URL + "?token=" + cfg.Token, AppKey: cfg.AppKey}
	if err := startOf(t, withToken); err != nil {
		t.Error(err)
	}
	if text := withToken.String(); !strings.Contains(text, "Credentials:URL") || strings.Contains(text, cfg.Token) {
		t.Error(text)
	}
	for _, u := range []string{cfg.URL, cfg.URL + "?token=", cfg.URL + "?other=x"} {
		if _, err := nls.NewClient(nls.Config{URL: u, AppKey: cfg.AppKey}); paramOf(err) != "Token" {
			t.Errorf("%s: %v", u, err)
		}
	}
}

// Every field of type time.Duration that there is, or will be, in the structs that
// callers fill in.
func TestANumberWithoutAUnitIsABadParameter(t *testing.T) {
	client, err := nls.NewClient(nls.Config{
		AppKey: "k", Token: "t",
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF },
	})
	if err != nil {
		t.Fatal(err)
	}
	start := map[reflect.Type]func(any) error{
		reflect.TypeFor[nls.Config](): func(p any) error {
			cfg := p.(nls.Config)
			cfg.AppKey, cfg.Token = "k", "t"
			_, err := nls.NewClient(cfg)
			return err
		},
		reflect.TypeFor[nls.RecognitionParams](): func(p any) error {
			return client.NewRecognizer(nls.RecognizerHandlers{}).Start(t.Context(), p.(nls.RecognitionParams))
		},
		reflect.TypeFor[nls.TranscriptionParams](): func(p any) error {
			return client.NewTranscriber(nls.TranscriberHandlers{}).Start(t.Context(), p.(nls.TranscriptionParams))
		},
		reflect.TypeFor[nls.SynthesisParams](): func(p any) error {
			params := p.(nls.SynthesisParams)
			params.Text = "x"
			return client.NewSynthesizer(nls.SynthesizerHandlers{}).Start(t.Context(), params)
		},
		reflect.TypeFor[nls.StreamSynthesisParams](): func(p any) error {
			return client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{}).Start(t.Context(), p.(nls.StreamSynthesisParams))
		},
		reflect.TypeFor[nls.CommonParams](): func(p any) error {
			return client.NewCommonProto("n", nls.CommonHandlers{}).Start(t.Context(), "x", p.(nls.CommonParams))
		},
	}
	durations := 0
	for typ, start := range start {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Type != reflect.TypeFor[time.Duration]() {
				continue
			}
			durations++
			for value, want := range map[time.Duration]string{
				1:                            "1ns: 1 is 1ns; write 1 * time.Second",
				8:                            "8ns: 8 is 8ns; write 8 * time.Second",
				999:                          "999ns: 999 is 999ns; write 999 * time.Second",
				1000:                         "1µs: must be a millisecond at least",
				10_000:                       "10µs: must be a millisecond at least",
				time.Millisecond - 1:         "999.999µs: must be a millisecond at least",
				100*time.Millisecond - 1:     "99.999999ms: must be 100ms at least", // of pings alone
				100 * time.Millisecond:       "",
				-time.Second:                 "", // means something, or is refused for it
				300 * 365 * 24 * 3600 * 1e6:  "",
				24 * time.Hour:               "",
				-1:                           "",
				0:                            "",
				200*time.Millisecond + 1_234: "",
			} {
				p := reflect.New(typ).Elem()
				p.Field(i).SetInt(int64(value))
				err := start(p.Interface())
				text := fmt.Sprint(err)
				switch {
				case strings.Contains(want, "100ms") && f.Name != "PingInterval":
				case want != "" && (paramOf(err) != f.Name || !strings.HasPrefix(text, "nls: invalid "+f.Name+" "+want)):
					t.Errorf("%v.%s = %d: %v", typ, f.Name, value, err)
				case want == "" && strings.Contains(text, "at least"), want == "" && strings.Contains(text, "write"):
					t.Errorf("%v.%s = %v: %v", typ, f.Name, value, err)
				}
			}
		}
	}
	for early, bad := range map[time.Duration]bool{8: true, time.Millisecond - 1: true, time.Millisecond: false, 0: false, -8: false} {
		_, err := nls.CacheTokens(nls.StaticToken("t"), early).Token(t.Context())
		if bad != (paramOf(err) == "early") {
			t.Errorf("CacheTokens %v early: %v", early, err)
		}
	}
	if durations < 20 {
		t.Errorf("%d parameters are durations", durations)
	}
}

// A Client that NewClient has not made has every method.
func TestAZeroClientAnswersEveryMethodWithAParamError(t *testing.T) {
	var c nls.Client
	ctx := t.Context()
	calls := map[string]func() error{
		"NewRecognizer":  func() error { return c.NewRecognizer(nls.RecognizerHandlers{}).Start(ctx, nls.RecognitionParams{}) },
		"NewTranscriber": func() error { return c.NewTranscriber(nls.TranscriberHandlers{}).Start(ctx, nls.TranscriptionParams{}) },
		"NewSynthesizer": func() error {
			return c.NewSynthesizer(nls.SynthesizerHandlers{}).Start(ctx, nls.SynthesisParams{Text: "x"})
		},
		"NewStreamSynthesizer": func() error {
			return c.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{}).Start(ctx, nls.StreamSynthesisParams{})
		},
		"NewCommonProto": func() error { return c.NewCommonProto("n", nls.CommonHandlers{}).Start(ctx, "x", nls.CommonParams{}) },
		"Recognize": func() error {
			_, err := c.Recognize(ctx, strings.NewReader("x"), nls.RecognitionParams{}, nls.PumpOptions{})
			return err
		},
		"Transcribe": func() (err error) {
			for _, err = range c.Transcribe(ctx, strings.NewReader("x"), nls.TranscriptionParams{}, nls.PumpOptions{}) {
			}
			return err
		},
		"NewContinuousTranscriber": func() error {
			return c.NewContinuousTranscriber(nls.ContinuousHandlers{}, nls.ContinuousOptions{}).Start(ctx, nls.TranscriptionParams{})
		},
		"TranscribeContinuously": func() (err error) {
			for _, err = range c.TranscribeContinuously(ctx, strings.NewReader("x"), nls.TranscriptionParams{}, nls.PumpOptions{}, nls.ContinuousOptions{}) {
			}
			return err
		},
		"Drain": func() error { return c.Drain(ctx) },
		"SynthesizeStream": func() error {
			return c.SynthesizeStream(ctx, io.Discard, func(func(string, error) bool) {}, nls.StreamSynthesisParams{})
		},
		"Synthesize": func() error { return c.Synthesize(ctx, io.Discard, nls.SynthesisParams{Text: "x"}) },
		"Warm":       func() error { return c.Warm(ctx) },
		"RecognizeFile": func() error {
			_, err := c.RecognizeFile(ctx, strings.NewReader("x"), nls.FileParams{})
			return err
		},
		"SubmitFile": func() error {
			_, err := c.SubmitFile(ctx, nls.FileTaskParams{URL: "https://files.example/x"})
			return err
		},
		"FileStatus": func() error {
			_, err := c.FileStatus(ctx, nls.FileTask{ID: "x"})
			return err
		},
		"WaitFile": func() error {
			_, err := c.WaitFile(ctx, nls.FileTask{ID: "x"})
			return err
		},
	}
	c.CloseIdleConnections() // which has no error
	for method := range reflect.TypeFor[*nls.Client]().Methods() {
		call, ok := calls[method.Name]
		if !ok && method.Name != "CloseIdleConnections" {
			t.Errorf("what does a zero Client answer to %s?", method.Name)
		} else if ok {
			if err := call(); paramOf(err) != "Client" {
				t.Errorf("%s: %v", method.Name, err)
			}
		}
	}
}

// unwilling has no JSON, and says why.
type unwilling struct{ err error }

func (u unwilling) MarshalJSON() ([]byte, error) { return nil, u.err }

func TestTheErrorOfAMarshalJSONIsWrapped(t *testing.T) {
	why := errors.New("why not")
	bad := map[string]any{"x": []any{unwilling{why}}}
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	tr := client.NewTranscriber(nls.TranscriberHandlers{})
	if err := tr.Start(ctx, nls.TranscriptionParams{}); err != nil {
		t.Fatal(err)
	}
	defer tr.Shutdown()
	p := client.NewCommonProto("n", nls.CommonHandlers{})
	for want, err := range map[string]error{
		"Extra":    client.NewRecognizer(nls.RecognizerHandlers{}).Start(ctx, nls.RecognitionParams{Extra: bad}),
		"Extra ":   client.NewTranscriber(nls.TranscriberHandlers{}).Start(ctx, nls.TranscriptionParams{Extra: bad}),
		"Extra  ":  client.NewSynthesizer(nls.SynthesizerHandlers{}).Start(ctx, nls.SynthesisParams{Text: "x", Extra: bad}),
		"Extra   ": client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{}).Start(ctx, nls.StreamSynthesisParams{Extra: bad}),
		"Payload":  p.Start(ctx, "x", nls.CommonParams{Payload: bad}),
		"Context":  p.Start(ctx, "x", nls.CommonParams{Context: bad}),
		"payload":  p.SendText("x", bad, nil),
		"context":  p.SendText("x", nil, bad),
		"ex":       tr.Ctrl(bad),
	} {
		if paramOf(err) != strings.TrimSpace(want) || !errors.Is(err, why) || nls.Retryable(err) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if n := server.Stats().Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
}

// frontOf is a TLS server before server that speaks h2 with whoever wants it, and
// HTTP/1.1 else.
func frontOf(t *testing.T, server *nlstest.Server, cert tls.Certificate) (addr string) {
	u, _ := url.Parse(server.URL)
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1", "gateway/1"}}
	return accept(t, func(raw net.Conn) {
		c := tls.Server(raw, cfg)
		if err := c.Handshake(); err != nil {
			return
		}
		if c.ConnectionState().NegotiatedProtocol == "h2" {
			_, _ = c.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00")) // SETTINGS
			_, _ = io.Copy(io.Discard, c)
			return
		}
		back, err := net.Dial("tcp", u.Host)
		if err != nil {
			return
		}
		defer back.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(back, c)
			back.Close()
		}()
		_, _ = io.Copy(c, back)
		raw.Close()
		<-done
	})
}

// A tls.Config that is shared with net/http has h2 in it, and one for a gateway may
// have its ServerName.
func TestATLSConfigForTheGatewayDoesNotHinderTokenLookups(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{Tokens: map[string]string{"from-h2": "account"}, AppKeys: map[string]string{"key": "account"}})
	defer server.Close()
	tokens := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"Token":{"Id":"from-h2"}}`)
	}))
	tokens.EnableHTTP2 = true
	tokens.Config.ErrorLog = log.New(io.Discard, "", 0)
	tokens.StartTLS()
	defer tokens.Close()
	gateway := frontOf(t, server, tokens.TLS.Certificates[0])
	for _, c := range []struct {
		name       string
		serverName string
		protocols  []string
	}{
		{"h2", "", []string{"h2", "http/1.1"}},
		{"what only the gateway knows", "", []string{"h2", "gateway/1"}},
		{"h2 alone", "", []string{"h2"}},
		{"HTTP/1.1", "", []string{"http/1.1"}},
		{"ServerName", "example.com", nil}, // which the certificate has, as it has 127.0.0.1
	} {
		t.Run(c.name, func(t *testing.T) {
			roots := x509.NewCertPool()
			roots.AddCert(tokens.Certificate())
			var mu sync.Mutex
			var names []string
			tlsConfig := &tls.Config{RootCAs: roots, ServerName: c.serverName, NextProtos: slices.Clone(c.protocols),
				VerifyConnection: func(s tls.ConnectionState) error {
					mu.Lock()
					defer mu.Unlock()
					names = append(names, s.ServerName)
					return nil
				}}
			err := startOf(t, nls.Config{
				URL: "wss://" + gateway + "/ws/v1", AppKey: server.Config().AppKey, AccessKeyID: "i", AccessKeySecret: "s", TLSConfig: tlsConfig,
				TokenOptions: &nls.TokenOptions{Endpoint: tokens.Listener.Addr().String()},
			})
			slices.Sort(names) // the gateway and the token API are asked at the same time
			if want := []string{"", c.serverName}; err != nil || !slices.Equal(names, want) {
				t.Errorf("%v; verified %q, want %q", err, names, want)
			}
			if !slices.Equal(tlsConfig.NextProtos, c.protocols) {
				t.Errorf("the caller's NextProtos are %q now", tlsConfig.NextProtos)
			}
		})
	}
}

// through is a Config whose gateway and token service are behind a proxy.
func through(proxy string) nls.Config {
	u, err := url.Parse(proxy)
	if err != nil {
		panic(err)
	}
	return nls.Config{URL: "wss://gateway.example/ws/v1", AppKey: "k", Token: "t", Proxy: http.ProxyURL(u)}
}

func TestARefusalOfAProxyCanBeTestedFor(t *testing.T) {
	for status, retryable := range map[int]bool{403: false, 407: false, 429: true, 502: true} {
		addr := accept(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprintf(c, "HTTP/1.1 %d No\r\nContent-Length: 6\r\n\r\nsesame", status)
		})
		session := through("http://guest:sesame@" + addr)
		lookup := session
		lookup.Token, lookup.AccessKeyID, lookup.AccessKeySecret = "", "i", "s"
		for name, cfg := range map[string]nls.Config{"session": session, "lookup": lookup} {
			err := startOf(t, cfg)
			e, ok := errors.AsType[*nls.ProxyError](err)
			if !ok || e.HTTPStatus != status || nls.Retryable(err) != retryable || errors.Is(err, nls.ErrAccessDenied) {
				t.Errorf("%s, %d: %v, Retryable %v", name, status, err, nls.Retryable(err))
			}
			if text := err.Error(); !strings.HasPrefix(text, "nls: ") || strings.Count(text, "nls: ") != 1 || strings.Contains(text, "sesame") {
				t.Error(text)
			}
		}
	}
}

func TestAProxyThatRepeatsItsPasswordIsNotRepeated(t *testing.T) {
	for _, said := range []string{"sesame-opens", base64.StdEncoding.EncodeToString([]byte("guest:sesame-opens")), "sesame%2Dopens"} {
		addr := accept(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprintf(c, "220 %s\r\n\r\n", said)
		})
		err := startOf(t, through("http://guest:sesame-opens@"+addr))
		if err == nil || !strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), said) {
			t.Errorf("%v", err)
		}
	}
}

func TestWhatAProxyDoesIsWhatTheNetworkDoes(t *testing.T) {
	reset := func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	eof := func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }
	socks := func(answer string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "\x05\x00")
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, answer)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	l.Close()
	for _, scheme := range []string{"http", "socks5", "socks5h"} {
		for _, c := range []struct {
			name      string
			proxy     func(net.Conn) // nil: there is none
			retryable bool
			reply     int
			schemes   string
		}{
			{"refused", nil, true, 0, "http socks5 socks5h"},
			{"reset", reset, true, 0, "http socks5 socks5h"},
			{"EOF", eof, true, 0, "http socks5 socks5h"},
			{"EOF later", socks(""), true, 0, "socks5 socks5h"},
			{"general failure", socks("\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"), true, 1, "socks5 socks5h"},
			{"not allowed", socks("\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"), false, 2, "socks5 socks5h"},
			{"unreachable", socks("\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"), true, 4, "socks5 socks5h"},
			{"refused beyond", socks("\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"), true, 5, "socks5 socks5h"},
			{"no method", func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); _, _ = io.WriteString(c, "\x05\xff") }, false, 255, "socks5 socks5h"},
		} {
			if !slices.Contains(strings.Fields(c.schemes), scheme) {
				continue
			}
			addr := gone
			if c.proxy != nil {
				addr = accept(t, c.proxy)
			}
			err := startOf(t, through(scheme+"://guest:sesame@"+addr))
			e, _ := errors.AsType[*nls.ProxyError](err)
			if nls.Retryable(err) != c.retryable || (e != nil) != (c.reply != 0) || e != nil && e.SOCKSReply != c.reply {
				t.Errorf("%s, %s: %v, Retryable %v", scheme, c.name, err, nls.Retryable(err))
			}
			if text := err.Error(); !strings.HasPrefix(text, "nls: ") || strings.Contains(text, "sesame") {
				t.Error(text)
			}
		}
	}
}

func TestAProxyWithoutAPortHasTheUsualOne(t *testing.T) {
	for proxy, want := range map[string]string{
		"http://proxy.example": "proxy.example:80", "https://proxy.example": "proxy.example:443",
		"socks5://proxy.example": "proxy.example:1080", "socks5h://[::1]": "[::1]:1080", "socks5://proxy.example:9050": "proxy.example:9050",
	} {
		stop := errors.New("stop")
		var dialed string
		cfg := through(proxy)
		cfg.NetDialContext = func(_ context.Context, _, addr string) (net.Conn, error) { dialed = addr; return nil, stop }
		if err := startOf(t, cfg); !errors.Is(err, stop) || dialed != want {
			t.Errorf("%s: dials %s, %v", proxy, dialed, err)
		}
	}
	if err := startOf(t, through("socks4://proxy.example")); err == nil || !strings.Contains(err.Error(), `unknown scheme "socks4"`) || nls.Retryable(err) {
		t.Error(err)
	}
}

// socks5h leaves names to the proxy, and socks5 does too, in net/http as here.
func TestSessionsGoThroughSOCKSOfEitherName(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	gateway, _ := url.Parse(server.URL)
	const name = "gateway.example"
	addr := accept(t, func(c net.Conn) {
		head := make([]byte, 2)
		_, _ = io.ReadFull(c, head)
		_, _ = io.CopyN(io.Discard, c, int64(head[1]))
		_, _ = c.Write([]byte{5, 0})
		request := make([]byte, 4+1+len(name)+2)
		_, _ = io.ReadFull(c, request)
		if !bytes.Contains(request, []byte(name)) {
			return
		}
		back, err := net.Dial("tcp", gateway.Host)
		if err != nil {
			return
		}
		defer back.Close()
		_, _ = c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 0})
		go func() {
			_, _ = io.Copy(back, c)
			back.Close()
		}()
		_, _ = io.Copy(c, back)
	})
	for _, scheme := range []string{"socks5", "socks5h"} {
		cfg := server.Config()
		cfg.URL = "ws://" + name + "/ws/v1"
		cfg.Proxy = through(scheme + "://" + addr).Proxy
		if err := startOf(t, cfg); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
