package pop

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"

	"github.com/nlsgo/nls/internal/redact"
)

// Key is an access key.
type Key struct{ ID, Secret, SecurityToken string }

// Chain finds an access key where alibaba-cloud-sdk-go does. The chain of that
// module knows no context, is not safe for concurrent use, and once all of its
// providers have failed it asks none but the last for ever. The zero value is ready.
type Chain struct {
	mu      sync.Mutex // never held over I/O
	running *chainCall // nil if nobody is asking
	// provider keeps what it has found until that is about to expire. Only the call
	// that runs uses it.
	provider *credentials.DefaultCredentialsProvider
}

// chainCall is a search that runs.
type chainCall struct {
	done chan struct{} // closed when key and err are set
	key  Key
	err  error
}

// Key returns the key, or an error when ctx ends. One search runs at a time; it may
// outlive ctx, for as long as the time-outs of that module allow.
func (c *Chain) Key(ctx context.Context) (Key, error) {
	if err := ctx.Err(); err != nil {
		return Key{}, err
	}
	c.mu.Lock()
	call := c.running
	if call == nil {
		call = &chainCall{done: make(chan struct{})}
		c.running = call
		go c.search(call)
	}
	c.mu.Unlock()
	select {
	case <-call.done:
		return call.key, call.err
	case <-ctx.Done():
		return Key{}, ctx.Err()
	}
}

// search asks the providers. The module panics at some answers of the network.
func (c *Chain) search(call *chainCall) {
	call.err = errors.New("the provider has panicked")
	defer func() {
		if recover() != nil || call.err != nil {
			c.provider = nil // another finds the way again
		}
		c.mu.Lock()
		c.running = nil
		c.mu.Unlock()
		close(call.done)
	}()
	if c.provider == nil {
		c.provider = credentials.NewDefaultCredentialsProvider()
	}
	found, err := c.provider.GetCredentials()
	if err != nil {
		call.err = redact.Error(err, os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"), os.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN"))
		return
	}
	call.key, call.err = Key{found.AccessKeyId, found.AccessKeySecret, found.SecurityToken}, nil
}
