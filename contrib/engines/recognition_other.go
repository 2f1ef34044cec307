//go:build !(linux && (amd64 || arm64))

package engines

import (
	"context"
	"errors"

	"github.com/nlsgo/nls/nlstest"
)

// sphinx is not there on this platform.
type sphinx struct{}

func loadSphinx() (*sphinx, error) { return nil, errors.ErrUnsupported }

func (e *Engine) newRecognition(context.Context, nlstest.RecognitionRequest) (nlstest.Recognition, error) {
	return nil, errors.ErrUnsupported
}
