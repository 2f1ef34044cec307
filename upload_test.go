package nls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// seeker is a file that has no Len, and of which a Seek fails, from the first on.
type seeker struct {
	io.ReadSeeker
	fails int // which Seek does; zero for none
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	if s.fails--; s.fails == 0 {
		return 5, errors.New("no seeking")
	}
	return s.ReadSeeker.Seek(offset, whence)
}

func TestTheSizeOfAFileIsWhatIsLeftToRead(t *testing.T) {
	at := func(here int64) *bytes.Reader {
		r := bytes.NewReader(make([]byte, 10))
		_, _ = r.Seek(here, io.SeekStart)
		return r
	}
	for name, c := range map[string]struct {
		r    io.Reader
		want int64
	}{
		"Len":                        {at(3), 7},
		"Seek":                       {&seeker{ReadSeeker: at(3)}, 7},
		"Seek, behind the end":       {&seeker{ReadSeeker: at(20)}, 0},
		"Seek, at the end":           {&seeker{ReadSeeker: at(10)}, 0},
		"a Seek that fails":          {&seeker{at(3), 1}, 0},
		"a Seek to the end fails":    {&seeker{at(3), 2}, 0},
		"the Seek back fails":        {&seeker{at(3), 3}, 0},
		"a Reader that says nothing": {struct{ io.Reader }{at(3)}, 0},
	} {
		if got := sizeOf(c.r); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if s, ok := c.r.(*seeker); ok && c.want > 0 {
			if here, _ := s.Seek(0, io.SeekCurrent); here != 3 {
				t.Errorf("%s: it is left at %d", name, here)
			}
		}
	}
}

func TestTheLastBoundOfACallIsTheOneThatCounts(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	for name, c := range map[string]struct {
		set  func(*watchdog)
		want error
		took time.Duration
	}{
		"one":                        {func(w *watchdog) { w.bound(time.Nanosecond, a) }, a, time.Nanosecond},
		"another in its place":       {func(w *watchdog) { w.bound(time.Second, a); w.bound(2*time.Second, b) }, b, 2 * time.Second},
		"none in its place":          {func(w *watchdog) { w.bound(time.Second, a); w.bound(0, nil) }, nil, 0},
		"none, said with a negative": {func(w *watchdog) { w.bound(time.Second, a); w.bound(-1, b) }, nil, 0},
		"stopped":                    {func(w *watchdog) { w.bound(time.Second, a); w.stop() }, nil, 0},
		"set behind the stop":        {func(w *watchdog) { w.stop(); w.bound(time.Second, a) }, nil, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			begin := time.Now()
			c.set(&watchdog{cancel: cancel})
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			if got := context.Cause(ctx); got != c.want || got != nil && time.Since(begin) != c.took {
				t.Errorf("%s: %v after %v", name, got, time.Since(begin))
			}
		})
	}
}

// The bound of a write is no bound of the source.
func TestAReadOfASourceMayTakeLongerThanAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		r, w := io.Pipe()
		go func() {
			for range 3 {
				_, _ = w.Write(make([]byte, pieceSize))
				time.Sleep(time.Minute)
			}
			w.Close()
		}()
		u := upload1(t, r)
		body := &fileBody{u, ctx, &watchdog{cancel: cancel}, 10 * time.Second}
		if data, err := rest(body.Read, 3*pieceSize); err != io.EOF || len(data) != 3*pieceSize || context.Cause(ctx) != nil {
			t.Errorf("%d bytes, %v, %v", len(data), err, context.Cause(ctx))
		}
		_, _ = (&fileBody{upload1(t, strings.NewReader("x")), ctx, body.watch, 10 * time.Second}).Read(make([]byte, 1))
		time.Sleep(time.Minute)
		if context.Cause(ctx) != ErrWriteTimeout {
			t.Errorf("without another Read: %v", context.Cause(ctx))
		}
	})
}

// upload1 is an upload of r, whose format is known.
func upload1(t *testing.T, r io.Reader) *upload {
	t.Helper()
	u, err := openUpload(t.Context(), r, &FileParams{}, url.Values{"format": {"wav"}, "sample_rate": {"16000"}})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// rest is what is left of an upload, which has most bytes at most.
func rest(read func([]byte) (int, error), most int) (string, error) {
	var all []byte
	for range most/1000 + 10 {
		p := make([]byte, 1000)
		n, err := read(p)
		if all = append(all, p[:n]...); err != nil {
			return string(all), err
		}
	}
	return string(all), errors.New("no end")
}

// reader is u.read within a minute.
func (u *upload) reader(t *testing.T) func([]byte) (int, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return func(p []byte) (int, error) { return u.read(ctx, p) }
}

// sized is a file that says a size which is not what it has.
type sized struct {
	io.Reader
	n int
}

func (s sized) Len() int { return s.n }

func TestAFileIsReadToTheSizeItHadAndNoFurther(t *testing.T) {
	for _, c := range []struct {
		name string
		r    io.Reader
		want string
		err  error
	}{
		{"no size", struct{ io.Reader }{strings.NewReader("abc")}, "abc", io.EOF},
		{"its size", strings.NewReader("abc"), "abc", io.EOF},
		{"one byte", strings.NewReader("a"), "a", io.EOF},
		{"it grows", sized{strings.NewReader("abc"), 2}, "ab", io.EOF},
		{"it grows from a byte", sized{strings.NewReader("abc"), 1}, "a", io.EOF},
		{"it grows behind a piece", sized{strings.NewReader(strings.Repeat("x", 3*pieceSize)), pieceSize}, strings.Repeat("x", pieceSize), io.EOF},
		{"it shrinks", sized{strings.NewReader("abc"), 4}, "abc", io.ErrUnexpectedEOF},
	} {
		synctest.Test(t, func(t *testing.T) {
			if got, err := rest(upload1(t, c.r).reader(t), 4*pieceSize); got != c.want || err != c.err {
				t.Errorf("%s: %d bytes, %v", c.name, len(got), err)
			}
		})
	}
	_, err := openUpload(t.Context(), sized{strings.NewReader(""), 1}, &FileParams{}, url.Values{})
	if _, empty := errors.AsType[*ParamError](err); empty || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file of a byte that has none: %v", err)
	}
}

func TestExactly100MBAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where a turn that is not given back is a deadlock
		u := &upload{buf: make([]byte, 10), got: maxFlashFile - 10, turn: make(chan struct{}, 1)}
		if u.take(chunk{n: 10}); len(u.next) != 10 || u.failure() != nil {
			t.Errorf("%d bytes, %v", len(u.next), u.failure())
		}
		u.take(chunk{n: 1})
		if e, ok := errors.AsType[*ParamError](u.failure()); !ok || e.Param != "audio" || len(u.next) != 0 {
			t.Errorf("one more: %d bytes, %v", len(u.next), u.failure())
		}
	})
}

func TestAFileIsSentAgainFromWhereItBeganOrNotAtAll(t *testing.T) {
	long := strings.Repeat("0123456789", pieceSize/4) // more than two pieces
	plain := func(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }
	from5 := func(fails int) io.Reader {
		r := strings.NewReader("head:" + long)
		_, _ = r.Seek(5, io.SeekStart)
		return &seeker{r, fails}
	}
	for _, c := range []struct {
		name string
		r    io.Reader
		read int // of it, before
		want string
		ok   bool
	}{
		{"a short one that cannot Seek", plain("abc"), 3, "abc", true},
		{"as much as a piece", plain(long[:pieceSize]), 10, long[:pieceSize], true},
		{"a short one that grows", sized{strings.NewReader("abc"), 2}, 2, "ab", true},
		{"a byte that grows", sized{strings.NewReader("abc"), 1}, 1, "a", true},
		{"a long one, of which a piece is read", plain(long), 1000, long, true},
		{"a long one that cannot Seek", plain(long), pieceSize + 1000, "", false},
		{"a long one that can", from5(0), pieceSize + 1000, long, true},
		{"a long one, all of it", from5(0), len(long), long, true},
		{"a Seek that fails", from5(5), pieceSize + 1000, "", false},
		{"a Reader that fails", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrClosedPipe)), 3, "", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			u := upload1(t, c.r)
			for n, p := 0, make([]byte, 1000); n < c.read; {
				m, err := u.read(t.Context(), p)
				if n += m; err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
			}
			if ok := u.rewind(t.Context()); ok != c.ok {
				t.Fatalf("%s: it goes back: %v", c.name, ok)
			}
			if got, err := rest(u.reader(t), 4*pieceSize); c.ok && (got != c.want || err != io.EOF) {
				t.Errorf("%s: %d bytes, want %d, and %v", c.name, len(got), len(c.want), err)
			}
		})
	}
	if none := (*upload)(nil); !none.rewind(t.Context()) || none.failure() != nil {
		t.Error("a file that the service fetches is not sent again")
	}
}

// A Read that is under way when the service refuses the token is waited for.
func TestAReadThatRunsIsPartOfWhatIsSentAgain(t *testing.T) {
	for _, arrives := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			go func() { _, _ = w.Write(bytes.Repeat([]byte("x"), pieceSize)) }()
			u := upload1(t, r)
			_, _ = u.read(t.Context(), make([]byte, pieceSize))
			first, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			if _, err := u.read(first, make([]byte, 1)); err != context.Canceled {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if arrives {
				go w.Close()
			} else {
				defer w.Close()
			}
			if ok := u.rewind(ctx); ok {
				t.Errorf("arrives: %v: two Reads are one piece", arrives)
			}
			if arrives != (ctx.Err() == nil) {
				t.Errorf("arrives: %v: rewind returned when ctx was %v", arrives, ctx.Err())
			}
		})
	}
}

func TestTheEndOfItsContextIsNoFailureOfASource(t *testing.T) {
	u := &upload{turn: make(chan struct{}, 1)}
	for err, failed := range map[error]bool{nil: false, io.EOF: false, context.Canceled: false, io.ErrUnexpectedEOF: true} {
		u.err = err
		if got := u.failure(); (got != nil) != failed || failed && !errors.Is(got, err) {
			t.Errorf("%v is %v", err, got)
		}
	}
}
