// Package suite is nothing but tests: those that use package nls as a program
// does, with all its products, against the gateways of nlstest. What they share is
// in gateway_test.go and subject_test.go.
//
// The root of the repository keeps the Examples and the tests of single functions.
package suite
