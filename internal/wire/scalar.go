package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The types below decode what services send where one of them is documented: a
// number as a string, a boolean as a number (protocol §5.4, §11, §13). What they
// cannot make sense of leaves them alone and is no error, so that one field hides
// no other.

// scalar is the text of a JSON string, number or boolean, and "" of anything else.
func scalar(data []byte) string {
	switch data[0] {
	case '"':
		if text := data[1 : len(data)-1]; bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
			return string(text)
		}
		var s string
		_ = json.Unmarshal(data, &s)
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(data)
}

// number is the number in data.
func number(data []byte) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(scalar(data)), 64)
	// "inf" is no number; 1e400 is one, and too large.
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) || errors.Is(err, strconv.ErrRange)
}

// Int is an integer. A fraction is cut, and what is too large is the largest there
// is.
type Int int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *Int) UnmarshalJSON(data []byte) error {
	if i, err := strconv.ParseInt(string(data), 10, 64); err == nil {
		*n = Int(i)
	} else if i, err := strconv.ParseInt(strings.TrimSpace(scalar(data)), 10, 64); err == nil {
		*n = Int(i)
	} else if f, ok := number(data); ok {
		switch {
		case f >= math.MaxInt64:
			*n = math.MaxInt64
		case f <= math.MinInt64:
			*n = math.MinInt64
		default:
			*n = Int(f)
		}
	}
	return nil
}

// Int is n, or the nearest int to it.
func (n Int) Int() int { return int(max(math.MinInt, min(math.MaxInt, n))) }

// Milliseconds is a duration of n milliseconds, or the nearest to it.
func (n Int) Milliseconds() time.Duration {
	const most = math.MaxInt64 / int64(time.Millisecond)
	switch {
	case int64(n) > most:
		return math.MaxInt64
	case int64(n) < -most:
		return math.MinInt64
	}
	return time.Duration(n) * time.Millisecond
}

// Float is a number.
type Float float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *Float) UnmarshalJSON(data []byte) error {
	if f, ok := number(data); ok && !math.IsInf(f, 0) {
		*n = Float(f)
	}
	return nil
}

// Bool is a boolean. A number is true unless it is 0.
type Bool bool

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bool) UnmarshalJSON(data []byte) error {
	if v, err := strconv.ParseBool(strings.TrimSpace(scalar(data))); err == nil {
		*b = Bool(v)
	} else if f, ok := number(data); ok {
		*b = f != 0
	}
	return nil
}

// Text is a string.
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(data []byte) error {
	if s := scalar(data); s != "" {
		*t = Text(s)
	}
	return nil
}

// Elements yields the objects in the array list, which is JSON, decoded as far as
// they can be; nulls and all else that is no object are left out. The pointer is
// good until the next. Each object takes one from budget, and at 0 there are no
// more: it may be much larger in memory than on the wire. A list that is no array
// has no elements.
func Elements[T any](list json.RawMessage, budget *int) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		if len(list) <= len("[]") { // as most are
			return
		}
		dec := json.NewDecoder(bytes.NewReader(list))
		if open, err := dec.Token(); err != nil || open != json.Delim('[') {
			return
		}
		element := new(T)
		for *budget > 0 && dec.More() {
			first := bytes.TrimLeft(list[dec.InputOffset():], ", \t\r\n")[0]
			*element = *new(T)
			if err := dec.Decode(element); err != nil {
				if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
					return
				}
			}
			if first != '{' {
				continue
			}
			if *budget--; !yield(element) {
				return
			}
		}
	}
}
