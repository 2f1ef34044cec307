//go:build !race

package nls_test

const raceEnabled = false
