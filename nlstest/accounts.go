package nlstest

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nlsgo/nls"
)

// The credentials of a Server whose Options name none. They are made up.
const (
	defaultAppKey  = "nlstest-appkey"
	defaultToken   = "nlstest-token"
	defaultKeyID   = "nlstest-access-key-id"
	defaultSecret  = "nlstest-access-key-secret"
	defaultAccount = "nlstest-account"
	defaultTTL     = 24 * time.Hour
)

const (
	// maxTokens bounds the created tokens that are remembered, expired ones
	// included. The oldest is forgotten first, and is then invalid.
	maxTokens = 1 << 14

	// stsPrefix begins the ID of a temporary access key.
	stsPrefix = "STS."
)

// The answers of protocol §7.1 to an appkey.
const (
	appKeyNotExist = "Meta:APPKEY_NOT_EXIST:Appkey not exist!"
	appKeyMismatch = "Meta:APPKEY_UID_MISMATCH:Appkey and user mismatch!"
)

// accounts knows the app keys, tokens and access keys of a Server, and which
// account each belongs to. Its methods are safe for concurrent use.
//
// Options name the account of an app key and of a token. An access key belongs
// to the account that is called like its ID if an app key does too; else, like
// all that has no other, to the account of the default app key.
//
// An access key whose ID begins with "STS." is a temporary one: it needs the
// SecurityToken that securityToken makes for it.
type accounts struct {
	appKeys    map[string]string // to account
	accessKeys map[string]string // to secret
	ttl        time.Duration
	appKey     string // the default one
	token      string // the default one
	accessKey  nls.AccessKey

	mu      sync.Mutex
	tokens  map[string]*token
	created []string // in order, at most maxTokens
	issues  int

	// Of CreateToken.
	perSecond  int // tokens of one access key
	callers    map[string]caller
	nonces     map[[sha256.Size]byte]struct{}
	nonceOrder [][sha256.Size]byte // at most maxNonces
}

// token is what accounts knows about a token.
type token struct {
	account string
	expiry  time.Time // zero means never
	expired bool      // by expireAll
}

func newAccounts(o Options) *accounts {
	a := &accounts{
		appKeys:    maps.Clone(o.AppKeys),
		accessKeys: maps.Clone(o.AccessKeys),
		ttl:        o.TokenTTL,
		tokens:     make(map[string]*token),
		perSecond:  tokensPerSecond,
		callers:    make(map[string]caller),
		nonces:     make(map[[sha256.Size]byte]struct{}),
	}
	if a.ttl == 0 {
		a.ttl = defaultTTL
	}
	if a.appKeys == nil {
		a.appKeys = map[string]string{defaultAppKey: defaultAccount}
	}
	if a.accessKeys == nil {
		a.accessKeys = map[string]string{defaultKeyID: defaultSecret}
	}
	a.appKey = first(a.appKeys, func(string) bool { return true })
	home := a.appKeys[a.appKey]

	static := o.Tokens
	if static == nil {
		static = map[string]string{defaultToken: home}
	}
	for t, account := range static {
		a.tokens[t] = &token{account: account}
	}
	a.token = first(static, func(t string) bool { return static[t] == home })
	a.accessKey.ID = first(a.accessKeys, func(id string) bool { return a.owner(id) == home })
	a.accessKey.Secret = a.accessKeys[a.accessKey.ID]
	if strings.HasPrefix(a.accessKey.ID, stsPrefix) {
		a.accessKey.SecurityToken = securityToken(a.accessKey.ID)
	}
	return a
}

// first returns the first key of m in order that is good, or else the first.
func first(m map[string]string, good func(string) bool) string {
	keys := slices.Sorted(maps.Keys(m))
	if len(keys) == 0 {
		return ""
	}
	return keys[max(0, slices.IndexFunc(keys, good))]
}

// owner returns the account of an access key.
func (a *accounts) owner(keyID string) string {
	for _, account := range a.appKeys {
		if account == keyID {
			return account
		}
	}
	return a.appKeys[a.appKey]
}

// securityToken returns the SecurityToken of a temporary access key, which
// Server.AccessKey shows.
func securityToken(keyID string) string {
	sum := sha256.Sum256([]byte(keyID))
	return "nlstest-sts-" + hex.EncodeToString(sum[:16])
}

// defaults returns credentials that go together, if Options has such.
func (a *accounts) defaults() (appKey, token string, key nls.AccessKey) {
	return a.appKey, a.token, a.accessKey
}

// checkToken returns the account of a token, or the body of the 403 that
// refuses it (protocol §1.3).
func (a *accounts) checkToken(value string, present bool) (account, refusal string) {
	if !present {
		return "", "Gateway:ACCESS_DENIED:Missing authorization header!"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tokens[value]
	switch {
	case t == nil:
		return "", "Meta:ACCESS_DENIED:The token '" + value + "' is invalid!"
	case t.expired || !t.expiry.IsZero() && !time.Now().Before(t.expiry):
		return "", "Gateway:ACCESS_DENIED:The token '" + value + "' has expired!"
	}
	return t.account, ""
}

// checkAppKey returns 0 if the app key belongs to account, or else the status
// and text that refuse it.
func (a *accounts) checkAppKey(appKey, account string) (status int, text string) {
	owner, ok := a.appKeys[appKey]
	switch {
	case !ok:
		return nls.StatusAppKeyNotExist, appKeyNotExist
	case owner != account:
		return nls.StatusAppKeyMismatch, appKeyMismatch
	}
	return 0, ""
}

// issue remembers a new token of account and returns when it expires. Clients
// are told whole seconds, so they see a token expire a little early.
func (a *accounts) issue(value, account string) time.Time {
	expiry := time.Now().Add(a.ttl)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.created) == maxTokens {
		delete(a.tokens, a.created[0])
		a.created = a.created[1:]
	}
	a.tokens[value] = &token{account: account, expiry: expiry}
	a.created = append(a.created, value)
	a.issues++
	return expiry
}

// issued returns how many tokens were created.
func (a *accounts) issued() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issues
}

// expireAll makes every token invalid that exists, those of Options included.
func (a *accounts) expireAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tokens {
		t.expired = true
	}
}
