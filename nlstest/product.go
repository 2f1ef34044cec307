package nlstest

// role says what a directive does.
type role int

const (
	roleStart role = iota
	roleControl
	roleStop
)

// product is a namespace of the service.
type product struct {
	namespace  string
	directives map[string]role
	started    string // event that answers Start, "" if there is none
	completed  string // event that ends the task
	text       bool   // the client sends text, not audio
	oneShot    bool   // the client sends nothing after Start
	described  bool   // by Options.Namespaces: the client may send text and audio

	// open checks the payload of a Start and returns its task.
	open func(c *conn, d *directive) (task, *failure)

	// late returns a result, for the fault Late.
	late func() (name string, payload any)
}

// task is what a product does between Start and Completed. Its methods run on
// the goroutine of the connection.
type task interface {
	prepare(ready func())          // Start has come: get ready for the client, then call ready
	begin()                        // the client has its answer to Start
	audio(data []byte)             // a binary message has come
	control(d *directive) *failure // a directive that is neither Start nor Stop has come
	stop(d *directive) *failure    // Stop has come: send what is left, then conn.complete
	completed() any                // payload of Completed, nil for none
	end()                          // the task is over, completed or not
}

// products are the namespaces of protocol §2.1 by name.
var products = map[string]*product{
	"SpeechRecognizer": {
		namespace:  "SpeechRecognizer",
		directives: map[string]role{"StartRecognition": roleStart, "StopRecognition": roleStop},
		started:    "RecognitionStarted",
		completed:  "RecognitionCompleted",
		open:       openRecognizer,
		late:       func() (string, any) { return "RecognitionResultChanged", recognitionResult{} },
	},
	"SpeechTranscriber": {
		namespace: "SpeechTranscriber",
		directives: map[string]role{
			"StartTranscription": roleStart, "StopTranscription": roleStop,
			// Every SDK has a name of its own for it, and the service takes them all
			// (protocol §4.3).
			"ControlTranscriber": roleControl, "ControlTranscription": roleControl, "UpdateControl": roleControl,
		},
		started:   "TranscriptionStarted",
		completed: "TranscriptionCompleted",
		open:      openTranscriber,
		late: func() (string, any) {
			return "TranscriptionResultChanged", resultChanged{Index: 1, Words: []wordRow{}}
		},
	},
	"SpeechSynthesizer": {
		namespace:  "SpeechSynthesizer",
		directives: map[string]role{"StartSynthesis": roleStart},
		completed:  "SynthesisCompleted",
		text:       true,
		oneShot:    true,
		open:       openSynthesizer,
	},
	"SpeechLongSynthesizer": {
		namespace:  "SpeechLongSynthesizer",
		directives: map[string]role{"StartSynthesis": roleStart},
		completed:  "SynthesisCompleted",
		text:       true,
		oneShot:    true,
		open:       openLongSynthesizer,
	},
	"FlowingSpeechSynthesizer": {
		namespace: "FlowingSpeechSynthesizer",
		directives: map[string]role{
			"StartSynthesis": roleStart, "StopSynthesis": roleStop,
			"RunSynthesis": roleControl, "FlushText": roleControl,
		},
		started:   "SynthesisStarted",
		completed: "SynthesisCompleted",
		text:      true,
		open:      openFlowingSynthesizer,
	},
}
