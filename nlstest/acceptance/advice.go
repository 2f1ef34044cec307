package acceptance

import (
	"crypto/x509"
	"errors"
	"net"

	"github.com/nlsgo/nls"
)

// advices are what to do about a status of the service.
var advices = map[int]string{
	nls.StatusAccessDenied:     "the token is not of this account, or has expired: create one, or set an access key",
	nls.StatusMessageInvalid:   "the service did not understand the SDK: please report it, with the task ID",
	nls.StatusIdleTimeout:      "the service was too busy, or the audio stopped: try again",
	nls.StatusTooManyRequests:  "too many sessions at a time for the account: wait, use Config.Limiter, or buy more",
	nls.StatusTrialExpired:     "the product is not activated, or its trial is over: upgrade it to commercial use in the console (a resource package alone does not)",
	nls.StatusAppKeyNotExist:   "the AppKey does not exist in this region: copy it from the project in the console of the same region",
	nls.StatusAppKeyMismatch:   "the AppKey is of another account than the token",
	nls.StatusDirectiveInvalid: "the service refuses a parameter: the text says which one",
	nls.StatusServerError:      "the service failed: try again, and ask its support with the task ID if it goes on",
}

// advice says what to do about err, "" if there is nothing to say.
func advice(err error) string {
	if a := advices[nls.StatusCode(err)]; a != "" {
		return a
	}
	var dns *net.DNSError
	var handshake *nls.HandshakeError
	var token *nls.TokenError
	var unknown x509.UnknownAuthorityError
	var net *net.OpError
	switch {
	case errors.As(err, &handshake):
		return "the gateway refuses the connection: look at the token, and at proxies in between"
	case errors.As(err, &token):
		return "no token: look at the access key, and whether its user has AliyunNLSFullAccess or nls:CreateToken"
	case errors.As(err, &dns):
		return "the name of the gateway is not found: look at Region, URL and the resolver"
	case errors.As(err, &unknown):
		return "something in between speaks for the gateway: set TLSConfig.RootCAs to its authority"
	case errors.As(err, &net):
		return "the gateway is not reached: look at firewalls, proxies and, with Internal, whether this is in the region's VPC"
	}
	return ""
}
