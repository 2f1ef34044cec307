package nlstest

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nlsgo/nls"
)

// commonWords are Mandarin words of more than one character that a segmenter would
// keep together: enough that joined characters are not taken for words.
var commonWords = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`
		今天 明天 昨天 后天 上午 下午 早上 晚上 中午 现在 以后 以前 时候 时间 星期 周末 小时 分钟 今年 去年 明年
		天气 北京 上海 深圳 杭州 广州 中国 世界 地方 城市 国家 学校 公司 医院 机场 车站 家里 这里 那里 哪里
		我们 你们 他们 她们 它们 大家 自己 别人 朋友 老师 学生 先生 女士 孩子 妈妈 爸爸 医生 经理 同学 客户
		什么 怎么 为什么 多少 这个 那个 哪个 这些 那些 一个 一些 一起 一样 一下 一直 一定 两个 有点 没有 不是 不能 不要 不会
		可以 可能 应该 需要 知道 觉得 认为 希望 喜欢 开始 结束 完成 继续 进行 使用 工作 学习 生活 开会 会议 问题 办法 方法
		因为 所以 但是 如果 虽然 然后 而且 或者 还是 就是 已经 正在 非常 特别 比较 最近 其实 当然 可是 不过 关于 对于
		你好 您好 再见 谢谢 对不起 没关系 请问 欢迎 高兴 漂亮 重要 简单 容易 困难 清楚 方便 快乐 认真 满意
		电话 手机 电脑 网络 语音 识别 合成 转写 实时 录音 文件 文本 声音 音频 服务 系统 测试 数据 软件 程序 机器 智能 人工 模型
		出来 起来 回来 过来 进来 出去 回去 过去 下雨 有雨 下雪 吃饭 睡觉 上班 下班 回家 看见 听见 告诉 帮助 介绍 收拾 运输
		中文 英文 汉语 普通话 名字 事情 东西 消息 新闻 电影 音乐 音箱 苹果 咖啡 价格 支付 订单 账户 地址 号码 第一 第二 最后
		晴天 阴天 多云 温度 东风 西风 南风 北风 春天 夏天 秋天 冬天 句子 结果 停顿 标点 符号 开放 平台 阿里 阿里云 云计算`) {
		m[w] = true
	}
	return m
}()

// longestWord is the most characters that one of commonWords has.
const longestWord = 3

// wordsOf are the words of a result as the service has them: without punctuation
// marks, whatever was asked for (protocol §16.1), with numbers written as in the
// text. The words of an Engine that gives characters are put together: Han by
// commonWords, other scripts by their spaces.
func wordsOf(words []nls.Word, digits bool) []nls.Word {
	characters := !slices.ContainsFunc(words, func(w nls.Word) bool { return utf8.RuneCountInString(w.Text) > 1 })
	var b strings.Builder
	var from []int // of each byte: the word that it is in
	write := func(text string, word int) {
		b.WriteString(text)
		for range len(text) {
			from = append(from, word)
		}
	}
	for i, w := range words {
		if i > 0 && !characters && spacedApart(words[i-1].Text, w.Text) {
			write(" ", i-1)
		}
		write(w.Text, i)
	}
	text := b.String()
	edits := numberEdits(text, digits)
	kept := make([]nls.Word, 0, len(words))
	for at := 0; at < len(text); {
		var token string
		end := at
		if len(edits) > 0 && edits[0].begin == at {
			token, end, edits = edits[0].text, edits[0].end, edits[1:]
		} else {
			limit := len(text)
			if len(edits) > 0 {
				limit = edits[0].begin
			}
			if characters {
				end += tokenLen(text[at:limit])
			} else {
				for end < limit && from[end] == from[at] {
					end++
				}
			}
			token = strings.TrimSpace(unpunctuated(text[at:end]))
		}
		if token != "" {
			kept = append(kept, nls.Word{Text: token, Start: words[from[at]].Start, End: words[from[end-1]].End})
		}
		at = end
	}
	return kept
}

// spacedApart reports whether a space stands between two words.
func spacedApart(a, b string) bool {
	last, _ := utf8.DecodeLastRuneInString(a)
	first, _ := utf8.DecodeRuneInString(b)
	return spaced(last) && spaced(first)
}

// tokenLen is how many bytes of text, which is not empty, are its first word, mark
// or white space.
func tokenLen(text string) int {
	const joiner = '\u200d'
	const joints = "'’-" + numberMarks
	first, n := utf8.DecodeRuneInString(text)
	if unicode.Is(unicode.Han, first) {
		longest := n
		end := n
		for i := 1; i < longestWord; i++ {
			_, size := utf8.DecodeRuneInString(text[end:])
			if end += size; commonWords[text[:end]] {
				longest = end
			}
		}
		return longest
	}
	last := first
	for n < len(text) {
		r, size := utf8.DecodeRuneInString(text[n:])
		next, _ := utf8.DecodeRuneInString(text[n+size:])
		inWord := spaced(last) && (spaced(r) || strings.ContainsRune(joints, r) && spaced(next)) || spaced(first) && strings.ContainsRune(joints, last)
		if !inWord && !unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Sk) && last != joiner {
			break
		}
		n += size
		last = r
	}
	return n
}
