package nlsredis

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// sealer encrypts what others must not read.
type sealer struct {
	aead cipher.AEAD
	name []byte // of what is sealed: it is worth nothing under another
	id   string // of the key
}

func newSealer(key []byte, name string) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("nlsredis key id"))
	return &sealer{aead: aead, name: []byte(name), id: hex.EncodeToString(mac.Sum(nil)[:4])}, nil
}

func (s *sealer) seal(c secret) string {
	b, _ := json.Marshal(c) // whose types are always good
	return string(s.aead.Seal(nil, nil, b, s.name))
}

// open is what was sealed; zero if that was not with this key and name.
func (s *sealer) open(sealed string) (c secret) {
	if b, err := s.aead.Open(nil, nil, []byte(sealed), s.name); err == nil {
		_ = json.Unmarshal(b, &c) // by another version, at worst: then it is zero
	}
	return c
}
