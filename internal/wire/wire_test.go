package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestNewIDIs32LowerCaseHexDigitsOfAVersion4UUID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if !ValidID(id) || id[12] != '4' || !strings.ContainsRune("89ab", rune(id[16])) || seen[id] {
			t.Fatalf("bad id %q", id)
		}
		seen[id] = true
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"0123456789abcdef0123456789abcdef":     true,
		"":                                     false,
		"0123456789abcdef0123456789abcde":      false,
		"0123456789abcdef0123456789abcdef0":    false,
		"0123456789ABCDEF0123456789ABCDEF":     false,
		"01234567-89ab-4def-8123-456789abcdef": false,
		"0123456789abcdef0123456789abcdeg":     false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %v", id, got)
		}
	}
}

func TestDirectiveIsCompactSortedAndNotHTMLEscaped(t *testing.T) {
	d := Directive{
		Header:  DirectiveHeader{AppKey: "k", MessageID: "m", TaskID: "t", Namespace: "SpeechSynthesizer", Name: "StartSynthesis"},
		Payload: map[string]any{"voice": "xiaoyun", "text": "<speak>a & b</speak>"},
	}
	got, err := Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"header":{"appkey":"k","message_id":"m","task_id":"t","namespace":"SpeechSynthesizer","name":"StartSynthesis"},` +
		`"payload":{"text":"<speak>a & b</speak>","voice":"xiaoyun"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMarshalReportsWhatJSONCannotSay(t *testing.T) {
	if _, err := Marshal(Directive{Payload: map[string]any{"x": func() {}}}); err == nil {
		t.Fatal("no error for a func")
	}
}

func TestDecodeEvent(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Event
	}{
		{
			"the service's own shape",
			`{"header":{"namespace":"SpeechTranscriber","name":"SentenceEnd","status":20000000,"message_id":"m","task_id":"t","status_text":"Gateway:SUCCESS:Success."},"payload":{"index":1}}`,
			Event{Namespace: "SpeechTranscriber", Name: "SentenceEnd", Status: 20000000, StatusText: "Gateway:SUCCESS:Success.", MessageID: "m", TaskID: "t"},
		},
		{"status_message stands in", `{"header":{"name":"X","status_message":"GATEWAY|SUCCESS|Success."}}`, Event{Name: "X", StatusText: "GATEWAY|SUCCESS|Success."}},
		{"status_text wins", `{"header":{"name":"X","status_text":"a","status_message":"b"}}`, Event{Name: "X", StatusText: "a"}},
		{"status as a string", `{"header":{"name":"X","status":"40000004"}}`, Event{Name: "X", Status: 40000004}},
		{"status as a fraction", `{"header":{"name":"X","status":4e7}}`, Event{Name: "X", Status: 40000000}},
		{"fields of other types count as missing", `{"header":{"name":"X","task_id":7,"message_id":{"a":"}"},"status":[1],"namespace":null,"status_text":true}}`, Event{Name: "X"}},
		{"null payload", `{"header":{"name":"X"},"payload":null}`, Event{Name: "X"}},
		{"unknown fields", `{"a":1,"header":{"name":"X","b":[2]}}`, Event{Name: "X"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeEvent([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Raw) != c.in {
				t.Errorf("Raw = %s", got.Raw)
			}
			var frame struct{ Payload json.RawMessage }
			if err := json.Unmarshal([]byte(c.in), &frame); err != nil || string(frame.Payload) != "null" && string(frame.Payload) != c.in[got.Payload.Start:got.Payload.End] {
				t.Errorf("Payload = %v, want %s", got.Payload, frame.Payload)
			}
			got.Raw, got.Payload = nil, Part{}
			if !eventsEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func eventsEqual(a, b Event) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestDecodeEventRefusesWhatIsNoEvent(t *testing.T) {
	for _, in := range []string{``, `x`, `[]`, `"s"`, `1`, `{"header":[]}`, `{"header":"x"}`, `{"header":{"name":"X"}`} {
		if e, err := DecodeEvent([]byte(in)); err == nil {
			t.Errorf("%q decoded to %+v", in, e)
		}
	}
	for _, in := range []string{`{}`, `null`, `{"header":null}`} {
		if _, err := DecodeEvent([]byte(in)); !errors.Is(err, ErrNoHeader) {
			t.Errorf("%q: %v, want ErrNoHeader", in, err)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add([]byte(`{"header":{"namespace":"Default","name":"TaskFailed","status":40000004,"message_id":"m","task_id":"t","status_text":"x"}}`))
	f.Add([]byte(`{"header":{"name":"X","status":"1e9","status_message":"\ud800"}}`))
	f.Add([]byte(`{"header":{"name":"X","status":-99999999999999999999}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := string(data)
		e, err := DecodeEvent(data)
		if string(data) != in {
			t.Fatal("input changed")
		}
		if err == nil && (string(e.Raw) != in || !json.Valid(data)) {
			t.Fatalf("Raw %q of %q", e.Raw, in)
		}
	})
}

func FuzzDirectiveRoundTrip(f *testing.F) {
	f.Add("你好 <b>", "key")
	f.Fuzz(func(t *testing.T, text, key string) {
		b, err := Marshal(Directive{Header: DirectiveHeader{AppKey: key}, Payload: map[string]any{"text": text}})
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			Header  DirectiveHeader
			Payload struct{ Text string }
		}
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if back.Payload.Text != strings.ToValidUTF8(text, "\ufffd") && strings.ToValidUTF8(text, "") == text {
			t.Fatalf("%q came back as %q", text, back.Payload.Text)
		}
	})
}
