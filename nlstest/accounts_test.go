package nlstest

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/effort"
)

// refusals of protocol §1.3.
func invalid(token string) string {
	return "Meta:ACCESS_DENIED:The token '" + token + "' is invalid!"
}
func expired(token string) string {
	return "Gateway:ACCESS_DENIED:The token '" + token + "' has expired!"
}

func TestTokensAreRefusedInTheWordsOfTheService(t *testing.T) {
	a := newAccounts(Options{Tokens: map[string]string{"good": "alice"}})
	for _, c := range []struct {
		token            string
		present          bool
		account, refusal string
	}{
		{"good", true, "alice", ""},
		{"", false, "", "Gateway:ACCESS_DENIED:Missing authorization header!"},
		{"", true, "", "Meta:ACCESS_DENIED:The token '' is invalid!"},
		{"12345ffdsfdfvdfcdfcdc", true, "", "Meta:ACCESS_DENIED:The token '12345ffdsfdfvdfcdfcdc' is invalid!"},
		{defaultToken, true, "", invalid(defaultToken)},
	} {
		if account, refusal := a.checkToken(c.token, c.present); account != c.account || refusal != c.refusal {
			t.Errorf("%q: %q, %q", c.token, account, refusal)
		}
	}
}

func TestCreatedTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(Options{TokenTTL: time.Minute})
		a.issue("tok", "alice")
		time.Sleep(time.Minute - 1)
		if account, refusal := a.checkToken("tok", true); account != "alice" || refusal != "" {
			t.Errorf("%q, %q", account, refusal)
		}
		time.Sleep(time.Nanosecond)
		if account, refusal := a.checkToken("tok", true); account != "" || refusal != expired("tok") {
			t.Errorf("%q, %q", account, refusal)
		}
		time.Sleep(10000 * time.Hour)
		if _, refusal := a.checkToken(defaultToken, true); refusal != "" {
			t.Errorf("a token of the options: %q", refusal)
		}
	})
}

func TestTokensLiveForADayByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if got := time.Until(newAccounts(Options{}).issue("tok", "")); got != 24*time.Hour {
			t.Error(got)
		}
	})
}

func TestExpireAllExpiresWhatThereIsAndNothingLater(t *testing.T) {
	a := newAccounts(Options{})
	a.issue("before", "x")
	a.expireAll()
	a.issue("after", "x")
	for token, want := range map[string]string{
		"before": expired("before"), defaultToken: expired(defaultToken), "after": "", "never": invalid("never"),
	} {
		if _, refusal := a.checkToken(token, true); refusal != want {
			t.Errorf("%s: %q", token, refusal)
		}
	}
	if a.issued() != 2 {
		t.Errorf("%d issued", a.issued())
	}
}

func TestOldTokensAreForgotten(t *testing.T) {
	effort.Long(t)
	a := newAccounts(Options{TokenTTL: -1})
	for i := range 3 * maxTokens {
		a.issue(fmt.Sprint(i), "x")
	}
	if len(a.tokens) != maxTokens+1 || len(a.created) != maxTokens || cap(a.created) > 4*maxTokens {
		t.Errorf("%d tokens, %d of %d created", len(a.tokens), len(a.created), cap(a.created))
	}
	last := fmt.Sprint(3*maxTokens - 1)
	if _, refusal := a.checkToken(last, true); refusal != expired(last) {
		t.Error(refusal)
	}
	if _, refusal := a.checkToken("0", true); refusal != invalid("0") {
		t.Error(refusal)
	}
	if _, refusal := a.checkToken(defaultToken, true); refusal != "" {
		t.Error(refusal)
	}
}

func TestAppKeysBelongToAccounts(t *testing.T) {
	a := newAccounts(Options{AppKeys: map[string]string{"app-a": "alice", "app-b": "bob"}})
	for _, c := range []struct {
		appKey, account string
		status          int
		text            string
	}{
		{"app-a", "alice", 0, ""},
		{"app-b", "bob", 0, ""},
		{"app-a", "bob", 40020106, "Meta:APPKEY_UID_MISMATCH:Appkey and user mismatch!"},
		{"app-c", "bob", 40020105, "Meta:APPKEY_NOT_EXIST:Appkey not exist!"},
		{"", "bob", 40020105, "Meta:APPKEY_NOT_EXIST:Appkey not exist!"},
	} {
		if status, text := a.checkAppKey(c.appKey, c.account); status != c.status || text != c.text {
			t.Errorf("%s of %s: %d %q", c.appKey, c.account, status, text)
		}
	}
}

// What Server.Config returns must work, if Options leave any choice.
func TestDefaultsGoTogether(t *testing.T) {
	for name, o := range map[string]Options{
		"nothing given": {},
		"app keys":      {AppKeys: map[string]string{"b": "bob", "a": "alice"}},
		"tokens":        {AppKeys: map[string]string{"a": "alice"}, Tokens: map[string]string{"1": "bob", "2": "alice"}},
		"access keys":   {AccessKeys: map[string]string{"id": "secret"}},
		"all": {
			AppKeys:    map[string]string{"a": "alice", "b": "key-1"},
			Tokens:     map[string]string{"t1": "key-1", "t2": "alice"},
			AccessKeys: map[string]string{"key-1": "secret-1", "key-2": "secret-2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccounts(o)
			appKey, token, key := a.defaults()
			account, refusal := a.checkToken(token, true)
			if status, text := a.checkAppKey(appKey, account); refusal != "" || status != 0 {
				t.Errorf("token %s: %q, %d %q", token, refusal, status, text)
			}
			if status, text := a.checkAppKey(appKey, a.owner(key.ID)); status != 0 || key.Secret == "" || key.SecurityToken != "" {
				t.Errorf("access key: %d %q", status, text)
			}
		})
	}
	a := newAccounts(Options{AppKeys: map[string]string{}, Tokens: map[string]string{}, AccessKeys: map[string]string{}})
	if appKey, token, key := a.defaults(); appKey != "" || token != "" || key.ID != "" {
		t.Errorf("%q, %q, %q where nothing is accepted", appKey, token, key.ID)
	}
	if _, _, key := newAccounts(Options{AccessKeys: map[string]string{"STS.x": "s"}}).defaults(); !strings.HasPrefix(key.SecurityToken, "nlstest-sts-") {
		t.Error("no SecurityToken for a temporary key")
	}
}

func TestAccessKeyOwnsTheAccountThatIsNamedLikeIt(t *testing.T) {
	a := newAccounts(Options{
		AppKeys:    map[string]string{"app-1": "alice", "app-2": "key-2"},
		AccessKeys: map[string]string{"key-1": "x", "key-2": "x"},
	})
	if a.owner("key-1") != "alice" || a.owner("key-2") != "key-2" {
		t.Errorf("%s, %s", a.owner("key-1"), a.owner("key-2"))
	}
}
