// Package browser has no code, only tests: the pages of the examples in a real
// browser, Debian's package chromium, with a microphone that plays a file. Without the
// browser they are skipped.
//
// It is a module of its own, so that users of package nls do not inherit chromedp.
package browser
