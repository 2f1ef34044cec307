package nls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// tokenAPI answers lookups with answer, which is given what was signed.
func tokenAPI(answer func(url.Values) string) *TokenOptions {
	return &TokenOptions{Transport: answering(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(answer(form)))}, nil
	})}
}

// Keys that live for an hour outlast any program.
func TestKeysThatRotateAreNeverUsedOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, lookups := time.Now(), 0
		hour := func() int { return int(time.Since(begin) / time.Hour) }
		src := NewTokenSourceFrom(CredentialSourceFunc(func(context.Context) (AccessKey, error) {
			h := hour()
			return AccessKey{fmt.Sprint("id-", h), fmt.Sprint("secret-", h), fmt.Sprint("sts-", h)}, nil
		}), tokenAPI(func(form url.Values) string {
			lookups++
			if id, sts := form.Get("AccessKeyId"), form.Get("SecurityToken"); id != fmt.Sprint("id-", hour()) || sts != fmt.Sprint("sts-", hour()) {
				t.Errorf("lookup with %s and %s in hour %d", id, sts, hour())
			}
			return fmt.Sprintf(`{"Token":{"Id":"token-%d","ExpireTime":%d}}`, lookups, time.Now().Add(90*time.Minute).Unix())
		}))
		for time.Since(begin) < 72*time.Hour {
			tok, err := src.Token(t.Context())
			if err != nil || !tok.Valid(0) {
				t.Fatalf("after %v: %v, %v", time.Since(begin), tok, err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if lookups < 45 || lookups > 60 {
			t.Errorf("%d lookups in 72 h of tokens of 90 minutes", lookups)
		}
	})
}

func TestASourceWithoutAKeyFailsTheLookup(t *testing.T) {
	none := errors.New("no role")
	_, err := NewTokenSourceFrom(CredentialSourceFunc(func(context.Context) (AccessKey, error) {
		return AccessKey{}, none
	}), nil).Token(t.Context())
	if e, ok := errors.AsType[*TokenError](err); !ok || !errors.Is(err, none) || e.Error() != "nls: create token: access key: no role" {
		t.Errorf("error %v", err)
	}
	if _, err := NewTokenSourceFrom(nil, nil).Token(t.Context()); !errors.Is(err, ErrInvalidParameter) {
		t.Errorf("without a source: %v", err)
	}
}

func TestCredentialsComeBetweenTokenAndKey(t *testing.T) {
	opts := tokenAPI(func(form url.Values) string {
		return fmt.Sprintf(`{"Token":{"Id":"token of %s"}}`, form.Get("AccessKeyId"))
	})
	source := CredentialSourceFunc(func(context.Context) (AccessKey, error) { return AccessKey{ID: "changing", Secret: "s"}, nil })
	for _, c := range []struct {
		name          string
		cfg           Config
		first, second string // "" if a refused token is all there is
		kind          string
	}{
		{"token alone", Config{Token: "T"}, "T", "", "Token"},
		{"token and half a key", Config{Token: "T", AccessKeyID: "fixed"}, "T", "", "Token"},
		{"token and key", Config{Token: "T", AccessKeyID: "fixed", AccessKeySecret: "s"}, "T", "token of fixed", "Token"},
		{"token and credentials", Config{Token: "T", Credentials: source}, "T", "token of changing", "Token"},
		{"credentials and key", Config{Credentials: source, AccessKeyID: "fixed", AccessKeySecret: "s"}, "token of changing", "token of changing", "Credentials"},
		{"credentials", Config{Credentials: source}, "token of changing", "token of changing", "Credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.AppKey, c.cfg.TokenOptions = "app", opts
			if !strings.Contains(c.cfg.String(), "Credentials:"+c.kind+"}") {
				t.Errorf("it prints %v", c.cfg)
			}
			client, err := NewClient(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := client.token(t.Context(), nil); got != c.first || err != nil {
				t.Fatalf("token %q, %v", got, err)
			}
			if again := client.invalidate(c.first); again != (c.second != "") {
				t.Fatalf("may be renewed: %v", again)
			}
			if c.second == "" {
				return
			}
			if got, err := client.token(t.Context(), nil); got != c.second || err != nil {
				t.Errorf("then token %q, %v", got, err)
			}
		})
	}
}

// A source that ignores its context costs one Start, and not the process.
func TestALookupThatHangsIsGivenUp(t *testing.T) {
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprint("background ", background), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stuck := make(chan struct{})
				var asked atomic.Int32
				src := CacheTokens(TokenSourceFunc(func(context.Context) (*Token, error) {
					calls := asked.Add(1)
					if background && calls == 1 {
						return &Token{"first", time.Now().Add(time.Hour)}, nil
					}
					if calls <= 2 && (background || calls == 1) {
						<-stuck
						return &Token{Value: "late"}, nil
					}
					return &Token{Value: "good"}, nil
				}), tokenEarly)
				defer func() { // what comes too late changes nothing
					close(stuck)
					synctest.Wait()
					get(t, src, "good")
				}()
				if background {
					get(t, src, "first")
					time.Sleep(57 * time.Minute)
					get(t, src, "first")
					time.Sleep(tokenTimeout + tokenMinPause + time.Second)
					get(t, src, "first")
					synctest.Wait()
				} else {
					begin := time.Now()
					_, err := src.Token(t.Context())
					if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took < tokenTimeout || took > tokenTimeout+time.Second {
						t.Errorf("%v after %v", err, took)
					}
					if _, ok := errors.AsType[*TokenError](err); !ok {
						t.Errorf("error %T", err)
					}
				}
				get(t, src, "good")
			})
		})
	}
}

// withoutKeys leaves the environment no key and no way to one.
func withoutKeys(t *testing.T) (home string) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "ALIBABA_CLOUD_") {
			t.Setenv(name, "")
		}
	}
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
	return home
}

func TestDefaultCredentialsAreFoundWhereTheyAre(t *testing.T) {
	want := AccessKey{"id", "secret", ""}
	sts := AccessKey{"id", "secret", "sts"}
	for _, c := range []struct {
		name string
		set  func(t *testing.T, home string)
		want AccessKey
	}{
		{"environment", func(t *testing.T, _ string) {
			t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "id")
			t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret")
			t.Setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "sts")
		}, sts},
		{"profile", func(t *testing.T, home string) {
			file := filepath.Join(home, "credentials")
			text := "[default]\ntype = access_key\naccess_key_id = id\naccess_key_secret = secret\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("ALIBABA_CLOUD_CREDENTIALS_FILE", file)
		}, want},
		{"profile of docs/credentials.md", func(t *testing.T, home string) {
			_, text, _ := strings.Cut(documented(t), "```ini\n")
			text, _, _ = strings.Cut(text, "```")
			if err := os.MkdirAll(filepath.Join(home, ".alibabacloud"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(home, ".alibabacloud", "credentials"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("ALIBABA_CLOUD_PROFILE", "laptop")
		}, AccessKey{"LTAI-example", "secret-example", ""}},
		{"URI", func(t *testing.T, _ string) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"AccessKeyId":"id","AccessKeySecret":"secret","SecurityToken":"sts","Expiration":%q}`,
					time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			}))
			t.Cleanup(server.Close)
			t.Setenv("ALIBABA_CLOUD_CREDENTIALS_URI", server.URL)
		}, sts},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := DefaultCredentials() // before there is a key, and without I/O
			c.set(t, withoutKeys(t))
			if key, err := src.AccessKey(t.Context()); key != c.want || err != nil {
				t.Errorf("%s, %s, %s, %v", key.ID, key.Secret, key.SecurityToken, err)
			}
		})
	}
}

// The chain of the module would ask its last provider alone for ever.
func TestDefaultCredentialsAreFoundAfterAFailure(t *testing.T) {
	withoutKeys(t)
	src := DefaultCredentials()
	if key, err := src.AccessKey(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "nls: default credentials: ") {
		t.Fatalf("%v, %v", key, err)
	}
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "id")
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret")
	if key, err := src.AccessKey(t.Context()); err != nil || key.ID != "id" {
		t.Errorf("then %v, %v", key, err)
	}
}

func TestDefaultCredentialsObeyTheirContext(t *testing.T) {
	withoutKeys(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	var searches atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		searches.Add(1)
		close(asked)
		<-answer
		fmt.Fprintf(w, `{"AccessKeyId":"id","AccessKeySecret":"secret","SecurityToken":"sts","Expiration":%q}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer server.Close()
	t.Setenv("ALIBABA_CLOUD_CREDENTIALS_URI", server.URL)
	src := DefaultCredentials()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := src.AccessKey(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if _, err := src.AccessKey(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("of a context that had ended: %v", err)
	}
	close(answer) // whoever asks next gets what the first has begun
	if key, err := src.AccessKey(t.Context()); err != nil || key.ID != "id" || searches.Load() != 1 {
		t.Errorf("then %v, %v after %d searches", key, err, searches.Load())
	}
}

// documented is docs/credentials.md.
func documented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("docs/credentials.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// redirect has what DefaultCredentials asks answered by h: STS over HTTPS, and the
// metadata service, whose address is fixed, as a proxy would. The chain makes its
// clients from http.DefaultTransport.
func redirect(t *testing.T, h http.HandlerFunc) {
	t.Helper()
	secure, plain := httptest.NewTLSServer(h), httptest.NewServer(h)
	t.Cleanup(secure.Close)
	t.Cleanup(plain.Close)
	proxy, err := url.Parse(plain.URL)
	if err != nil {
		t.Fatal(err)
	}
	before := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = before })
	http.DefaultTransport = &http.Transport{
		DisableKeepAlives: true,
		Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == "http" {
				return proxy, nil
			}
			return nil, nil
		},
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, network, secure.Listener.Addr().String())
		},
	}
}

// keys are the answer of STS or of the metadata service: the nth key, which is about
// to expire.
func keys(n int32) string {
	return fmt.Sprintf(`"AccessKeyId":"id-%d","AccessKeySecret":"secret-%d","SecurityToken":"sts-%d","Expiration":%q`,
		n, n, n, time.Now().Add(time.Minute).UTC().Format("2006-01-02T15:04:05Z"))
}

// The way of a pod and that of an instance, from the environment to the lookup. Each
// lookup has a key that is good: one that is about to expire is followed by another.
func TestRolesOfPodsAndInstancesAreFollowedToTheLookup(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(t *testing.T) (asked func() int32)
	}{
		{"Kubernetes, OIDC", func(t *testing.T) func() int32 {
			file := filepath.Join(t.TempDir(), "token")
			renewed := func(n int32) { // by the cluster
				if err := os.WriteFile(file, fmt.Append(nil, "oidc-", n), 0o600); err != nil {
					t.Error(err)
				}
			}
			renewed(1)
			for name, value := range map[string]string{
				"ALIBABA_CLOUD_ROLE_ARN":          "acs:ram::1:role/speech",
				"ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/x",
				"ALIBABA_CLOUD_OIDC_TOKEN_FILE":   file,
				"ALIBABA_CLOUD_STS_REGION":        "cn-shanghai",
			} {
				if !strings.Contains(documented(t), name) {
					t.Errorf("docs/credentials.md knows no %s", name)
				}
				t.Setenv(name, value)
			}
			var asked atomic.Int32
			redirect(t, func(w http.ResponseWriter, r *http.Request) {
				n := asked.Add(1)
				if r.FormValue("Action") != "AssumeRoleWithOIDC" || r.FormValue("RoleArn") != "acs:ram::1:role/speech" ||
					r.FormValue("OIDCToken") != fmt.Sprint("oidc-", n) || r.Host != "sts.cn-shanghai.aliyuncs.com" {
					t.Errorf("%s asked %s for %v", r.Host, r.URL, r.Form)
				}
				renewed(n + 1)
				fmt.Fprintf(w, `{"Credentials":{%s}}`, keys(n))
			})
			return asked.Load
		}},
		{"ECS, the role of the instance", func(t *testing.T) func() int32 {
			t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "")
			var asked atomic.Int32
			redirect(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Host != "100.100.100.200" {
					t.Errorf("asked %s", r.Host)
				}
				if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
					io.WriteString(w, "metadata-token")
					return
				}
				if r.Header.Get("X-aliyun-ecs-metadata-token") != "metadata-token" {
					t.Error("without the token of the metadata service")
				}
				switch r.URL.Path {
				case "/latest/meta-data/ram/security-credentials/":
					io.WriteString(w, "speech")
				case "/latest/meta-data/ram/security-credentials/speech":
					fmt.Fprintf(w, `{"Code":"Success",%s}`, keys(asked.Add(1)))
				default:
					t.Errorf("asked for %s", r.URL)
				}
			})
			return asked.Load
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			withoutKeys(t)
			asked := c.set(t)
			var lookups []string
			src := NewTokenSourceFrom(DefaultCredentials(), tokenAPI(func(form url.Values) string {
				lookups = append(lookups, form.Get("AccessKeyId")+" "+form.Get("SecurityToken"))
				return `{"Token":{"Id":"token","ExpireTime":1}}` // has expired, so that the next asks again
			}))
			for range 3 {
				if _, err := src.Token(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(lookups, ", "); got != "id-1 sts-1, id-2 sts-2, id-3 sts-3" || asked() != 3 {
				t.Errorf("looked up with %s, asked %d times", got, asked())
			}
		})
	}
}
