package nls

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// Whatever FlashRecognizer answers, it is a result or a *TaskError that hides the
// token.
func FuzzFlashResult(f *testing.F) {
	f.Add(200, []byte(`{"task_id":"t","status":20000000,"message":"SUCCESS","flash_result":{"duration":"5","sentences":[{"text":"a","words":[{"text":"a "}]}]}}`))
	f.Add(400, []byte(`{"task_id":"t","status":40000001,"message":"The token 'MARKEDtoken' is invalid!"}`))
	f.Add(502, []byte(`<html>MARKEDtoken</html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		r, err := flashResult(&http.Response{StatusCode: status, Header: http.Header{}}, body, "MARKEDtoken")
		if (r == nil) == (err == nil) {
			t.Fatalf("%v, %v", r, err)
		}
		if err == nil {
			return
		}
		if _, ok := errors.AsType[*TaskError](err); !ok || strings.Contains(err.Error(), "MARKEDtoken") {
			t.Errorf("%v", err)
		}
	})
}
