package nls

import (
	"context"
	"errors"
	"fmt"
	"io"
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
