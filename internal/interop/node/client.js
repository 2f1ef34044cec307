// Runs one session with the official Node SDK and prints what the SDK says about
// it, one JSON object a line. Its argument is a job as JSON; see type job in the
// tests of the directory above.
"use strict"

const fs = require("fs")
const nls = require("alibabacloud-nls")

// patience is how long anything may take, in milliseconds.
const patience = 20000

const job = JSON.parse(process.argv[2])
const config = { url: job.URL, appkey: job.AppKey, token: job.Token }

function say(name, message) {
  fs.writeSync(1, JSON.stringify({ name, message: String(message || "") }) + "\n")
}

// within is promise, or failed if the session fails meanwhile, since this SDK may
// settle no promise then, or a rejection if it all takes too long.
function within(promise, failed, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(what + ": no answer")), patience)
  })
  return Promise.race([promise, failed, late]).finally(() => clearTimeout(timer))
}

async function listen(session, events) {
  for (const name of events) {
    session.on(name, (message) => say(name, message))
  }
  const failed = new Promise((resolve) => session.on("failed", () => resolve("failed")))
  const params = Object.assign(session.defaultStartParams(), job.Params)
  if (await within(session.start(params, true, 6000), failed, "start") === "failed") {
    return
  }
  const audio = fs.readFileSync(job.Audio)
  for (let sent = 0; sent < audio.length; sent += job.Chunk) {
    if (job.Control && sent * 2 >= audio.length) {
      session.ctrl(job.Control)
      job.Control = null
    }
    if (!session.sendAudio(audio.subarray(sent, sent + job.Chunk))) {
      throw new Error("audio: refused")
    }
  }
  await within(session.close(job.Stop || undefined), failed, "stop")
}

async function speak(session) {
  for (const name of ["meta", "completed", "failed", "closed"]) {
    session.on(name, (message) => say(name, message))
  }
  const failed = new Promise((resolve) => session.on("failed", () => resolve()))
  const out = fs.openSync(job.Out, "w")
  session.on("data", (data) => fs.writeSync(out, data))
  const params = Object.assign(session.defaultStartParams("xiaoyun"), job.Params, { text: job.Text })
  await within(session.start(params, true, 6000), failed, "start")
  fs.closeSync(out)
}

async function main() {
  switch (job.Product) {
    case "recognition":
      return listen(new nls.SpeechRecognition(config), ["started", "changed", "completed", "failed", "closed"])
    case "transcription":
      return listen(new nls.SpeechTranscription(config), ["started", "begin", "changed", "end", "completed", "failed", "closed"])
    case "synthesis":
      return speak(new nls.SpeechSynthesizer(config))
    case "long":
      return speak(new nls.SpeechSynthesizer(config, true))
  }
  throw new Error("no product " + job.Product)
}

main().catch((err) => say("error", err.message || err))
