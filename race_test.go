//go:build race

package nls_test

const raceEnabled = true
