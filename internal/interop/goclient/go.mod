module github.com/nlsgo/nls/internal/interop/goclient

go 1.26

require github.com/aliyun/alibabacloud-nls-go-sdk v1.1.1

require (
	github.com/aliyun/alibaba-cloud-sdk-go v1.61.1376 // indirect
	github.com/gorilla/websocket v1.4.2 // indirect
	github.com/jmespath/go-jmespath v0.4.0 // indirect
	github.com/json-iterator/go v1.1.12 // indirect
	github.com/modern-go/concurrent v0.0.0-20180306012644-bacd9c7ef1dd // indirect
	github.com/modern-go/reflect2 v1.0.2 // indirect
	github.com/satori/go.uuid v1.2.0 // indirect
	gopkg.in/ini.v1 v1.66.2 // indirect
)
