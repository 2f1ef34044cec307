package nlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// Certificates are valid from the epoch, since the clock of a testing/synctest
// bubble starts in the year 2000.
var (
	certNotBefore = time.Unix(0, 0)
	certNotAfter  = time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// authority is the certificate authority of all Servers.
type authority struct {
	roots *x509.CertPool
	pem   []byte
	leaf  tls.Certificate // for loopback, signed by the authority
}

// theAuthority is made once: that costs thirty times what the rest of a Server does.
var theAuthority = sync.OnceValues(newAuthority)

func newAuthority() (*authority, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("nlstest: authority: %w", err)
	}
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "nlstest"},
		NotBefore:             certNotBefore,
		NotAfter:              certNotAfter,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("nlstest: authority: %w", err)
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return nil, fmt.Errorf("nlstest: authority: %w", err)
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("nlstest: certificate: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    certNotBefore,
		NotAfter:     certNotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("nlstest: certificate: %w", err)
	}
	a := &authority{
		roots: x509.NewCertPool(),
		pem:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		leaf:  tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key},
	}
	a.roots.AddCert(ca)
	return a, nil
}

// server is the TLS configuration of a listener, client that of who connects. Keys
// that withstand quantum computers would be most of the cost of a handshake.
func (a *authority) server() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{a.leaf}} }
func (a *authority) client() *tls.Config {
	return &tls.Config{RootCAs: a.roots.Clone(), CurvePreferences: []tls.CurveID{tls.X25519}}
}
