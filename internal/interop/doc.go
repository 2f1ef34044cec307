// Package interop has no code, only tests: the official SDKs of other languages
// against nlsgateway, and what our SDK sends beside what they send.
//
// It is a module of its own, so that users of package nls do not inherit the
// official Go SDK. The script run installs what the tests need and runs them; its
// last lines are a table of client, product and result.
package interop
