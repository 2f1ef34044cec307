package interop

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// The client of alibaba-cloud-sdk-go, as the vendor's samples use it, submits a file to
// the local gateway and gets the result: the gateway takes its signature, and refuses
// a wrong one.
func TestTheOfficialClientTranscribesAFile(t *testing.T) {
	const text = "你好。"
	var file []byte
	server := nlstest.NewServer(nlstest.Options{Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(file) })})
	defer server.Close()
	err := nlstest.Loopback().Synthesize(t.Context(), text, nlstest.Voice{SampleRate: 16000, Volume: 50}, func(pcm []byte, _ []nls.Subtitle) error {
		file = append(file, pcm...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	key := server.AccessKey()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.CertificatePEM())

	call := func(secret, version, action, method string, params map[string]string) (map[string]any, error) {
		config := sdk.NewConfig()
		config.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
		client, err := sdk.NewClientWithOptions("cn-shanghai", config, credentials.NewAccessKeyCredential(key.ID, secret))
		if err != nil {
			t.Fatal(err)
		}
		r := requests.NewCommonRequest()
		r.Scheme, r.Domain, r.Version, r.Method, r.ApiName = "https", server.Config().FileEndpoint, version, method, action
		for k, v := range params {
			if method == "POST" {
				r.FormParams[k] = v
			} else {
				r.QueryParams[k] = v
			}
		}
		resp, err := client.ProcessCommonRequest(r)
		if err != nil {
			return nil, err
		}
		var answer map[string]any
		if err := json.Unmarshal(resp.GetHttpContentBytes(), &answer); err != nil {
			t.Fatal(err)
		}
		return answer, nil
	}

	task, err := json.Marshal(map[string]any{"appkey": server.Config().AppKey, "file_link": "https://files.example/a.pcm?a=b c&%2B", "version": "4.0"})
	if err != nil {
		t.Fatal(err)
	}
	link := map[string]string{"Task": string(task)}
	if answer, err := call(key.Secret, "2018-08-17", "SubmitTask", "POST", link); err != nil || answer["StatusText"] != "REQUEST_INVALID_FILE_URL_VALUE" {
		t.Errorf("a file_link with a blank: %v, %v", answer, err)
	}
	task, _ = json.Marshal(map[string]any{"appkey": server.Config().AppKey, "file_link": "https://files.example/a.pcm?a=b+c&%2B*~", "version": "4.0"})
	link["Task"] = string(task)
	for _, version := range []string{"2018-08-17", "2019-08-23", "2021-12-21"} {
		answer, err := call(key.Secret, version, "SubmitTask", "POST", link)
		if err != nil || answer["StatusText"] != "SUCCESS" {
			t.Fatalf("SubmitTask of %s: %v, %v", version, answer, err)
		}
		id := map[string]string{"TaskId": answer["TaskId"].(string)}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(1010 * time.Millisecond) {
			answer, err = call(key.Secret, version, "GetTaskResult", "GET", id)
			if err != nil {
				t.Fatalf("GetTaskResult of %s: %v", version, err)
			}
			if answer["StatusText"] != "RUNNING" && answer["StatusText"] != "QUEUEING" || time.Now().After(deadline) {
				break
			}
		}
		js, _ := json.Marshal(answer)
		var result struct {
			Result struct{ Sentences []struct{ Text string } }
		}
		if err := json.Unmarshal(js, &result); err != nil || answer["StatusText"] != "SUCCESS" || len(result.Result.Sentences) != 1 || result.Result.Sentences[0].Text != text {
			t.Errorf("GetTaskResult of %s: %s", version, js)
		}
	}
	_, err = call("wrong", "2018-08-17", "SubmitTask", "POST", link)
	if e, ok := errors.AsType[*sdkerrors.ServerError](err); !ok || e.ErrorCode() != "SignatureDoesNotMatch" {
		t.Errorf("a wrong secret: %v", err)
	}
}
