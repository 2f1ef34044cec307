package nls

import (
	"context"
	"fmt"

	"github.com/nlsgo/nls/internal/pop"
)

// CredentialSource supplies the access key of each token lookup, so that keys which
// expire (STS, roles of instances and pods) are renewed. It must be safe for
// concurrent use and give up when ctx ends.
type CredentialSource interface {
	AccessKey(ctx context.Context) (AccessKey, error)
}

// CredentialSourceFunc makes a function a CredentialSource.
type CredentialSourceFunc func(ctx context.Context) (AccessKey, error)

// AccessKey calls f.
func (f CredentialSourceFunc) AccessKey(ctx context.Context) (AccessKey, error) { return f(ctx) }

// DefaultCredentials is the chain of alibaba-cloud-sdk-go. The first that has a key
// is used: the environment (ALIBABA_CLOUD_ACCESS_KEY_ID and so on), the OIDC role of
// a pod, the files ~/.aliyun/config.json and ~/.alibabacloud/credentials, the RAM role
// of the instance, ALIBABA_CLOUD_CREDENTIALS_URI. It does no I/O before it is first
// asked, then what the chain needs: files, or requests to STS and to the instance's
// metadata, by the proxy of the environment and not that of a Config. Keys that expire
// are renewed before they do. A search goes on in the background when ctx ends; one
// runs at a time. After a failure the whole chain is asked again. docs/credentials.md
// has what to set up in Kubernetes, on ECS and for a file.
func DefaultCredentials() CredentialSource {
	var chain pop.Chain
	return CredentialSourceFunc(func(ctx context.Context) (AccessKey, error) {
		key, err := chain.Key(ctx)
		if err != nil {
			return AccessKey{}, fmt.Errorf("nls: default credentials: %w", err)
		}
		return AccessKey(key), nil
	})
}

// NewTokenSourceFrom is [NewTokenSource] for keys that change: src is asked at each
// token lookup, within the time that the lookup has. Its error is the Err of a
// *TokenError.
func NewTokenSourceFrom(src CredentialSource, opts *TokenOptions) TokenSource {
	var o TokenOptions
	if opts != nil {
		o = *opts
	}
	return CacheTokens(TokenSourceFunc(func(ctx context.Context) (*Token, error) {
		if src == nil {
			return nil, &ParamError{"Credentials", nil, "must not be nil"}
		}
		key, err := src.AccessKey(ctx)
		if err != nil {
			return nil, &TokenError{Err: fmt.Errorf("access key: %w", err)}
		}
		return getToken(ctx, key, &o)
	}), tokenEarly)
}
