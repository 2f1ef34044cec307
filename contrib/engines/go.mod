module github.com/nlsgo/nls/contrib/engines

go 1.26

require github.com/nlsgo/nls v0.0.0

require (
	github.com/ebitengine/purego v0.11.3 // indirect
	github.com/mozillazg/go-pinyin v0.21.0 // indirect
)

replace github.com/nlsgo/nls => ../..
