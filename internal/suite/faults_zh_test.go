package suite

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// docs/faults.zh-CN.md is docs/faults.md with these words for its cells, and what
// follows for its paragraphs.
var faultCells = map[string]string{
	"fault": "故障", "at": "时刻", "what the caller sees": "调用方看到什么", "after": "多久之后", "error": "错误", "Retryable": "可重试",
	"callbacks": "回调", "product": "产品", "why": "原因", "call": "调用",
	"yes": "是", "no": "否", "any": "任意", "any point": "任意时刻", "any point before Completed": "Completed 之前的任意时刻",
	"at once": "立即", "that time": "到那时",
	"of package net": "net 包的错误",

	"the service refused the connection":                                                   "服务端拒绝了连接",
	"the connection broke before it was open":                                              "连接还没建好就断了",
	"the connection broke":                                                                 "连接断了",
	"the service closed the connection":                                                    "服务端关闭了连接",
	"the service broke the websocket protocol":                                             "服务端违反 WebSocket 协议",
	"the service failed the task":                                                          "服务端报告任务失败",
	"the service denied access":                                                            "服务端拒绝访问",
	"Start times out":                                                                      "Start 超时",
	"Stop times out":                                                                       "Stop 超时",
	"Stop times out: a minute without a message":                                           "Stop 超时：一分钟没有消息",
	"the synthesis times out":                                                              "合成超时",
	"a ping is not answered (with PingTimeout set)":                                        "ping 没有应答（设了 PingTimeout）",
	"completes, with the right result":                                                     "正常完成，结果正确",
	"completes later, with the right result":                                               "晚一些完成，结果正确",
	"completes; the result may be incomplete or have something added":                      "正常完成；结果可能不完整，或多出内容",
	"completes; the result is empty":                                                       "正常完成；结果为空",
	"the message is longer than 1 MiB, and is not read":                                    "消息超过 1 MiB，不读取",
	"Start fails, for the service has completed the task before it began":                  "Start 失败：任务还没开始，服务端就结束了它",
	"Wait returns when its context ends, for CommonProto has no timeout but that of Start": "Wait 在 context 结束时返回：CommonProto 只有 Start 有超时",
	"… or, since it overtakes what was sent":                                               "… 或者，因为它赶在已发出的数据之前",
	"… or, while the file is being sent":                                                   "… 或者，文件还在发送时",

	"ParseFault refuses it: only a handshake can be answered so":                "ParseFault 不接受：只有握手能这样应答",
	"ParseFault refuses it: there is no websocket yet":                          "ParseFault 不接受：这时还没有 WebSocket",
	"ParseFault refuses it: nothing is late before Completed":                   "ParseFault 不接受：Completed 之前无所谓迟到",
	"ParseFault refuses it: there is no task, or it has been asked to complete": "ParseFault 不接受：没有任务，或者已经要求它结束",
	"these send no audio": "不发送音频",
	"these send no text after Start (CommonProto is used as a recognizer here)": "Start 之后不发送文本（这里的 CommonProto 用于一句话识别）",
	"it has no Stop": "没有 Stop",

	"the answer is not that of the service": "应答不是服务端发出的",
	"the answer is no HTTP":                 "应答不是 HTTP",
	"the service does not answer":           "服务端没有应答",
	"the service does not take the file":    "服务端不接收文件",
	"the call was refused":                  "调用被拒绝",
	"there is no result yet":                "还没有结果",
}

// faultParagraphs are the paragraphs beside the tables, in their order.
var faultParagraphs = []string{
	"# 故障的表现",
	"[English](faults.md) | 简体中文",
	`由 go test -run FaultTable ./internal/suite -update 从 internal/suite/faults_test.go 生成；一个测试保证它是最新的，另一个测试
对着本地网关逐行验证。故障和时刻的名称就是 nlstest.ParseFault 的写法：“reset@after-start” 表示服务端应答 Start 之后 TCP 被重置。`,
	`不管是哪种故障，Done 都会关闭，不遗留 goroutine，OnError 最多一次，OnClose 恰好一次并且最后（连接从未建好时两者都没有），同一个对象
可以再次 Start。会话只要连到过服务端，错误里就有任务 ID。时间按默认值计。没有设 PingTimeout 时，以 ErrPingTimeout 结束的行改为以该调用
的超时结束，CommonProto 则以调用方的 context 结束；但有 ping 得到过应答之后，最晚在最后一次应答后 16 秒结束。`,
	"以下情况不会发生：",
	"## 录音文件",
	`故障发生在该调用的唯一一个请求上。时刻 handshake 是还没有读到请求，during-audio 是正在接收文件，on-stop 是该给出应答。FileStatus 的
错误里有任务 ID，RecognizeFile 由服务端给出的错误也有。WaitFile 的返回与 FileStatus 相同，但遇到 ErrFileRunning 或限流会继续等，
遇到可重试的 *APIError 会继续等两分钟。`,
}

func TestFaultTableIsCurrentInChinese(t *testing.T) {
	const file = root + "docs/faults.zh-CN.md"
	var paragraphs []string
	left := faultParagraphs
	for text := range strings.SplitSeq(strings.TrimSpace(faultTable()), "\n\n") {
		switch {
		case strings.HasPrefix(text, "|"):
			paragraphs = append(paragraphs, faultTableInChinese(t, text))
		case len(left) == 0:
			t.Fatalf("no translation of %q", text)
		default:
			paragraphs = append(paragraphs, left[0])
			left = left[1:]
		}
	}
	got := strings.Join(paragraphs, "\n\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || got != strings.ReplaceAll(string(want), "\r\n", "\n") || len(left) != 0 {
		t.Errorf("%s is not current; go test -run FaultTable ./internal/suite -update; %v", file, err)
	}
}

// faultTableInChinese translates a table of docs/faults.md.
func faultTableInChinese(t *testing.T, table string) string {
	// What needs no translation: nothing, times, and the names of points, products,
	// callbacks and errors. A fault may have a text of any kind.
	names := regexp.MustCompile("^(?:[\\w.-]+(?:, [\\w.-]+)*|OnError OnClose|… [A-Z]\\w+|`[*\\w.]+`.*|[a-z0-9]+[,@].*|)$")
	var b strings.Builder
	for i, row := range strings.Split(table, "\n") {
		if i > 0 {
			b.WriteString("\n")
		}
		cells := strings.Split(row, "|")
		for j, cell := range cells {
			trimmed := strings.TrimSpace(cell)
			if word, ok := faultCells[trimmed]; ok {
				cells[j] = " " + word + " "
			} else if bound, ok := strings.CutPrefix(trimmed, "at most "); ok {
				cells[j] = " 最多 " + bound + " "
			} else if !names.MatchString(trimmed) {
				t.Errorf("no translation of %q", trimmed)
			}
		}
		b.WriteString(strings.Join(cells, "|"))
	}
	return b.String()
}
