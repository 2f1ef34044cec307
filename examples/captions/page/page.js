// Sends the microphone to the relay and shows the captions that come back.

const texts = {
  en: {
    title: 'Live captions', start: 'Start', stop: 'Stop',
    idle: '', asking: 'Waiting for the microphone…', connecting: 'Connecting…', listening: 'Listening',
    interrupted: 'The recognition was interrupted and goes on in a moment',
    reconnecting: 'The connection is lost, trying again…',
    stopping: 'Waiting for the last words…', done: 'Finished',
    busy: 'All places are taken. Please try again later.',
    failed: 'The recognition failed. The relay has logged why.',
    NotAllowedError: 'The microphone may not be used. Allow it beside the address of the page.',
    NotFoundError: 'There is no microphone.',
    NotReadableError: 'Another program uses the microphone.',
    insecure: 'Browsers give the microphone only to pages of localhost and of https.',
    broken: 'The microphone does not work: ',
  },
  zh: {
    title: '实时字幕', start: '开始', stop: '停止',
    idle: '', asking: '正在等待麦克风…', connecting: '正在连接…', listening: '正在聆听',
    interrupted: '识别中断，马上继续',
    reconnecting: '连接已断开，正在重试…',
    stopping: '正在等待最后的结果…', done: '已结束',
    busy: '名额已满，请稍后再试。',
    failed: '识别失败，原因见中继程序的日志。',
    NotAllowedError: '无法使用麦克风，请在地址栏旁允许使用。',
    NotFoundError: '没有找到麦克风。',
    NotReadableError: '麦克风正被其他程序占用。',
    insecure: '浏览器只允许 localhost 和 https 页面使用麦克风。',
    broken: '麦克风无法工作：',
  },
};
const language = navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
const text = texts[language];

const byID = (id) => document.getElementById(id);
const [button, meter, statusLine, captions] = ['button', 'meter', 'status', 'captions'].map(byID);

const MAX_CAPTIONS = 500; // on the page
const MAX_WAITING = 300; // chunks, which is 30 s, kept while there is no connection
const MAX_UNSENT = 4 << 20; // bytes in a connection that takes nothing any more
const MAX_PAUSE = 10000; // milliseconds before the next attempt to connect

const troubles = ['interrupted', 'reconnecting', 'busy', 'failed'];

function show(state, words = text[state]) {
  statusLine.textContent = words;
  statusLine.dataset.state = state;
  statusLine.className = troubles.includes(state) || !(state in text) ? 'trouble' : '';
}

// Microphone calls onChunk(pcm, peak), and with null after the last chunk.
class Microphone {
  async open(onChunk) {
    // What makes a call pleasant takes from the sounds that a recogniser needs.
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: {channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false},
    });
    this.stream.getAudioTracks()[0].onended = () => this.end(); // it is unplugged
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule('worklet.js');
    this.node = new AudioWorkletNode(this.context, 'resampler', {channelCount: 1, channelCountMode: 'explicit'});
    this.node.port.onmessage = ({data}) => {
      onChunk(data);
      if (data === null) this.close();
    };
    // The destination keeps it running; it hears silence.
    this.context.createMediaStreamSource(this.stream).connect(this.node).connect(this.context.destination);
  }

  // end makes the last chunk come.
  end() { this.node?.port.postMessage(null); }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.context?.close();
  }
}

// Captions are one list item for each sentence of a connection.
class Captions {
  #items = new Map();

  change({index, text, final}) {
    let item = this.#items.get(index);
    if (item === undefined) {
      item = document.createElement('li');
      this.#items.set(index, item);
      captions.append(item);
      if (captions.children.length > MAX_CAPTIONS) captions.firstElementChild.remove();
    }
    item.textContent = text;
    item.className = final ? '' : 'partial';
    if (final) this.#items.delete(index);
    item.scrollIntoView({block: 'nearest'});
  }
}

// Session is from a click on start to the end: one microphone, and a connection after
// the other.
class Session {
  #microphone = new Microphone();
  #waiting = []; // chunks, while there is no connection; null when no more will come
  #socket;
  #pause = 500;
  #timer;
  #stopping = false;
  #over = false;

  async start() {
    if (navigator.mediaDevices === undefined) return this.#end('insecure');
    show('asking');
    try {
      await this.#microphone.open((chunk) => this.#chunk(chunk));
    } catch (error) {
      return error.name in text ? this.#end(error.name) : this.#end('broken', text.broken + error);
    }
    if (this.#over) return this.#microphone.close();
    show('connecting');
    this.#connect();
  }

  stop() {
    if (this.#stopping || this.#socket === undefined) return this.#end('idle'); // who is impatient
    this.#stopping = true;
    show('stopping');
    this.#microphone.end();
  }

  #connect() {
    const socket = new WebSocket(new URL('captions', location).href.replace(/^http/, 'ws'));
    const shown = new Captions();
    this.#socket = socket;
    socket.onopen = () => this.#waiting.splice(0).forEach((chunk) => this.#send(chunk));
    socket.onmessage = ({data}) => {
      const message = JSON.parse(data);
      if (message.state === undefined) return shown.change(message);
      if (['done', 'busy', 'failed'].includes(message.state)) return this.#end(message.state);
      if (message.state === 'listening') this.#pause = 500;
      if (!this.#stopping) show(message.state);
    };
    socket.onclose = () => {
      if (this.#over) return;
      show('reconnecting');
      this.#timer = setTimeout(() => this.#connect(), this.#pause);
      this.#pause = Math.min(2 * this.#pause, MAX_PAUSE);
    };
  }

  #chunk(chunk) {
    meter.value = chunk === null ? meter.min : 20 * Math.log10(chunk.peak + 1e-9);
    const pcm = chunk && chunk.pcm;
    if (this.#socket?.readyState === WebSocket.OPEN) return this.#send(pcm);
    this.#waiting.push(pcm);
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
  }

  #send(pcm) {
    this.#socket.send(pcm ?? 'stop');
    if (this.#socket.bufferedAmount > MAX_UNSENT) this.#socket.close();
  }

  #end(state, words) {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#microphone.close();
    meter.value = meter.min;
    show(state, words);
    button.textContent = text.start;
    session = undefined;
  }
}

let session;

button.onclick = () => {
  if (session !== undefined) return session.stop();
  session = new Session();
  button.textContent = text.stop;
  session.start();
};

document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
document.title = text.title;
for (const element of document.querySelectorAll('[data-text]')) element.textContent = text[element.dataset.text];
