package session

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// diary is what a part has done, in order.
type diary struct {
	begin time.Time
	mu    sync.Mutex
	lines []string
}

func newDiary() *diary { return &diary{begin: time.Now()} }

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// now notes with the time.
func (d *diary) now(format string, args ...any) {
	d.note("%s@%v", fmt.Sprintf(format, args...), time.Since(d.begin))
}

// till sleeps until so much has passed since the beginning.
func (d *diary) till(t time.Duration) { time.Sleep(t - time.Since(d.begin)) }

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}
