package nlstest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/nlsgo/nls"
)

type Engine interface {
	Recognize(ctx context.Context, sampleRate int) (Recognition, error)
	Synthesize(ctx context.Context, text string, v Voice, emit func(pcm []byte, words []nls.Subtitle) error) error
}
type Voice struct {
	Name                          string
	SampleRate                    int
	Volume, SpeechRate, PitchRate int
}
type Recognition interface {
	Write(pcm []byte) ([]Hypothesis, error)
	Finish() ([]Hypothesis, error)
}
type Hypothesis struct {
	Text       string
	Begin, End time.Duration
	Final      bool
	Confidence float64
	Words      []nls.Word
}
type sentenceSilencer interface{ SetMaxSentenceSilence(time.Duration) }

type tempEngine struct{}

func Loopback() Engine { return tempEngine{} }

type tempRec struct {
	n    int
	rate int
	last time.Duration
}

func (tempEngine) Recognize(ctx context.Context, rate int) (Recognition, error) {
	return &tempRec{rate: rate}, nil
}
func (r *tempRec) pos() time.Duration {
	return time.Duration(r.n) * time.Second / time.Duration(r.rate)
}
func (r *tempRec) Write(pcm []byte) ([]Hypothesis, error) {
	r.n += len(pcm) / 2
	if r.pos()-r.last >= 500*time.Millisecond {
		h := Hypothesis{Text: fmt.Sprintf("[%v]", r.pos()), Begin: r.last, End: r.pos(), Confidence: 1}
		f := h
		f.Final = true
		r.last = r.pos()
		return []Hypothesis{h, f}, nil
	}
	return nil, nil
}
func (r *tempRec) Finish() ([]Hypothesis, error) {
	if r.n == 0 {
		return nil, nil
	}
	return []Hypothesis{{Text: "end", Begin: r.last, End: r.pos(), Final: true, Confidence: 1}}, nil
}
func (tempEngine) Synthesize(ctx context.Context, text string, v Voice, emit func(pcm []byte, words []nls.Subtitle) error) error {
	i := 0
	for _, r := range text {
		at := time.Duration(i) * 100 * time.Millisecond
		if err := emit(make([]byte, v.SampleRate/5), []nls.Subtitle{{Text: string(r), Begin: at, End: at + 100*time.Millisecond, BeginIndex: i, EndIndex: i + 1}}); err != nil {
			return err
		}
		i++
	}
	return nil
}

func Script(s ...string) Engine { return tempEngine{} }

type accounts struct{}

func newAccounts(o Options) *accounts { return &accounts{} }
func (a *accounts) checkToken(token string, present bool) (string, string) {
	if !present {
		return "", "Gateway:ACCESS_DENIED:Missing authorization header!"
	}
	if token != "temptoken" {
		return "", "Meta:ACCESS_DENIED:The token '" + token + "' is invalid!"
	}
	return "acc", ""
}
func (a *accounts) checkAppKey(appKey, account string) (int, string) {
	switch appKey {
	case "AppKeyDefault":
		return 0, ""
	case "AppKeyOther":
		return 40020106, "Meta:APPKEY_UID_MISMATCH:Appkey and user mismatch!"
	}
	return 40020105, "Meta:APPKEY_NOT_EXIST:Appkey not exist!"
}
func (a *accounts) expireAll()            {}
func (a *accounts) handler() http.Handler { return http.NotFoundHandler() }
func (a *accounts) defaults() (string, string, nls.AccessKey) {
	return "AppKeyDefault", "temptoken", nls.AccessKey{ID: "id", Secret: "sec"}
}
func (a *accounts) issued() int { return 0 }
