package nlstest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/nlsgo/nls"
)

// voices are those of the vendor's public list (protocol §16.2), which all three
// synthesis products have, by what they can do. Every voice speaks at 8 and 16 kHz,
// some at more.
var voices = [...]struct {
	topRate    int
	timestamps bool
	names      string
}{
	{16000, true, `abby aibao aicheng aichu aida aifan aifei aihao aijia aijing aikan ailun aimei aimo aiming aina ainan aiqi
		aiqian airu aishu aishuo aiting aitong aiwei aixia aixiang aixiao aiya aiye aiying aiyu aiyuan aiyue andy annie ava
		beth betty brian cally cindy cuijie dahu donna emily eric eva guijie jiajia jielidou kelly kenny laomei laotie luca
		luna lydia maoxiaomei mashu qiaowei rosa stanley stella taozi tomoka tomoya xiaoxian yaqun yuer zhibei_emo zhida
		zhifei zhigui zhilun zhimao zhimi_emo zhimiao_emo zhiqing zhishuo zhistella zhitian zhitian_emo zhiya zhiyan_emo
		zhiyuan zhiyue`},
	{16000, false, `becca camila chuangirl clara farah hanna harry indah kyong masha perla qingqing tala tien waan xiaogang
		xiaoyun xiaoze`},
	{24000, true, `abby_ecmix andy_ecmix annie_ecmix ava_ecmix beth_ecmix betty_ecmix brian_ecmix cally_ecmix cindy_ecmix
		david david_ecmix donna_ecmix eva_ecmix sicheng sijing siqi siyue xiaobei zhibing_emo zhifeng_emo zhixiaomei`},
	{24000, false, `ninger olivia ruilin ruoxi shanshan sijia sitong wendy william xiaomei yina`},
	{48000, true, `zhichu zhide zhijia zhinan zhiqi zhiqian zhiru zhiwei zhixiang`},
	{48000, false, `abin zhixiaobai zhixiaoxia`},
}

// emotionsOf are the categories of <emotion> that a voice has.
func emotionsOf(voice string) []string {
	switch strings.ToLower(voice) {
	case "zhifeng_emo", "zhibing_emo":
		return []string{"angry", "fear", "happy", "neutral", "sad", "surprise"}
	case "zhimi_emo", "zhibei_emo", "zhitian_emo":
		return []string{"angry", "fear", "happy", "hate", "neutral", "sad", "surprise"}
	case "zhiyan_emo":
		return []string{"angry", "arousal", "fear", "happy", "hate", "neutral", "sad", "surprise"}
	case "zhimiao_emo":
		return []string{
			"affectionate", "angry", "customer-service", "disgust", "embarrassed", "fear", "frustrated", "gentle", "happy",
			"jealousy", "living", "neutral", "newscast", "sad", "serious", "story", "surprise",
		}
	}
	return nil
}

// isCosyVoice reports whether a voice is one of CosyVoice, a family that grows and
// in which customers have voices of their own. They exist in FlowingSpeechSynthesizer
// only, have no timestamps, and their Sentence events come without subtitles
// (protocol §6.3).
func isCosyVoice(name string) bool {
	return strings.HasPrefix(name, "long") || strings.HasPrefix(name, "loong") || strings.HasPrefix(name, "cosyvoice")
}

// engineError is how the engine refuses what the gateway has let through (protocol
// §7.3).
func engineError(code int) *failure {
	return &failure{nls.StatusSynthesisClientError, "TTS:TtsClientError:[tts]Engine return error code: " + strconv.Itoa(code)}
}

var (
	errUnknownVoice = engineError(418)
	errNoEmotion    = engineError(423)
	errNoTimestamps = engineError(425)
	errIllegalSSML  = &failure{nls.StatusSynthesisClientError, "TTS:TtsClientError:Illegal ssml text"}
)

// checkVoice reports what the voice of s cannot do.
func (s *synthesis) checkVoice() *failure {
	name := s.voice.Name
	if name == "" {
		return &failure{nls.StatusParameterInvalid, "Gateway:PARAMETER_INVALID:Invalid voice name ''!"}
	}
	if isCosyVoice(name) {
		if !s.flowing {
			return errUnknownVoice
		}
		s.subtitle = false
		return nil
	}
	if slices.Contains(s.c.server.opts.Voices, name) {
		return nil
	}
	for _, group := range voices {
		for known := range strings.FieldsSeq(group.names) {
			if !strings.EqualFold(name, known) {
				continue
			}
			switch {
			case s.voice.SampleRate > group.topRate || !oneOf(s.voice.SampleRate, 8000, 16000, 24000, 48000):
				return invalidField("sample_rate", strconv.Itoa(s.voice.SampleRate))
			case s.subtitle && !group.timestamps:
				return errNoTimestamps
			}
			return nil
		}
	}
	return errUnknownVoice
}

// checkEmotion reports an emotion that the voice of s lacks.
func (s *synthesis) checkEmotion(category string) *failure {
	if !slices.Contains(emotionsOf(s.voice.Name), category) {
		return errNoEmotion
	}
	return nil
}
