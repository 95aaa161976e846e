"""A phone for the end-to-end tests: pjsua2 with one account and one call.

A JSON request on each line of standard input, a JSON event on each line of standard output. The end of the input ends it.
    {"do": "call", "uri": "sip:…"} {"do": "call without offer", "uri": "sip:…"} {"do": "answer early"} {"do": "answer"} {"do": "hang up"}
    {"do": "hold"} {"do": "resume"} {"do": "press", "key": "5"}
    {"do": "transfer", "uri": "sip:…"} {"do": "message", "uri": "sip:…", "text": "…"}
    {"event": "registered"} {"event": "incoming"} {"event": "ringing"} {"event": "talking"} {"event": "ended"}
    {"event": "key", "key": "5"} {"event": "message", "text": "…"}
"""

import json
import os
import select
import sys

import pjsua2

POLL_MS = 20


def say(**event):
    print(json.dumps(event), flush=True)


class Call(pjsua2.Call):
    """The last one is the one that requests are about; an object that goes takes its call with it, so all are kept."""

    current = None
    all = []

    def __init__(self, account, number=pjsua2.PJSUA_INVALID_ID):
        super().__init__(account, number)
        self.account = account
        Call.current = self
        Call.all.append(self)

    def onCallState(self, _):
        info = self.getInfo()
        if info.state == pjsua2.PJSIP_INV_STATE_EARLY and info.role == pjsua2.PJSIP_ROLE_UAC:
            say(event="ringing")
        elif info.state == pjsua2.PJSIP_INV_STATE_CONFIRMED:
            say(event="talking")
        elif info.state == pjsua2.PJSIP_INV_STATE_DISCONNECTED:
            say(event="ended", status=info.lastStatusCode)

    def onCallMediaState(self, _):
        # What it has inside lives no longer than itself.
        info = self.getInfo()
        for index, media in enumerate(info.media):
            if media.type == pjsua2.PJMEDIA_TYPE_AUDIO and media.status == pjsua2.PJSUA_CALL_MEDIA_ACTIVE:
                audio = self.getAudioMedia(index)
                Sound.tone.startTransmit(audio)
                audio.startTransmit(Sound.recorder)

    def onDtmfDigit(self, pressed):
        say(event="key", key=pressed.digit)

    def onCallTransferRequest(self, request):
        request.newCall = Call(self.account)


class Sound:
    """What it sends, and the file with what it hears."""

    @classmethod
    def start(cls, hz):
        cls.tone = pjsua2.ToneGenerator()
        cls.tone.createToneGenerator()
        tone = pjsua2.ToneDesc()
        tone.freq1, tone.freq2, tone.on_msec, tone.off_msec = hz, 0, 1000, 0
        tones = pjsua2.ToneDescVector()
        tones.append(tone)
        cls.tone.play(tones, True)
        cls.recorder = pjsua2.AudioMediaRecorder()
        cls.recorder.createRecorder("heard.wav")


class Account(pjsua2.Account):
    def onRegState(self, state):
        if state.code == 200:
            say(event="registered")

    def onIncomingCall(self, incoming):
        call = Call(self, incoming.callId)
        ringing = pjsua2.CallOpParam()
        ringing.statusCode = 180
        call.answer(ringing)
        say(event="incoming")

    def onInstantMessage(self, message):
        say(event="message", text=message.msgBody)


def hang_up():
    if not Call.current.isActive():
        return
    operation = pjsua2.CallOpParam()
    is_ringing = Call.current.getInfo().state in (pjsua2.PJSIP_INV_STATE_INCOMING, pjsua2.PJSIP_INV_STATE_EARLY)
    operation.statusCode = 486 if is_ringing else 0
    Call.current.hangup(operation)


def call(account, uri, flags=0):
    operation = pjsua2.CallOpParam(True)
    operation.opt.flag |= flags
    Call(account).makeCall(uri, operation)


def answer(status):
    operation = pjsua2.CallOpParam()
    operation.statusCode = status
    Call.current.answer(operation)


def hold():
    Call.current.setHold(pjsua2.CallOpParam(True))


def resume():
    operation = pjsua2.CallOpParam(True)
    operation.opt.flag = pjsua2.PJSUA_CALL_UNHOLD
    Call.current.reinvite(operation)


def once_possible(endpoint, offer):
    """The re-INVITE before it, of whichever side, may not be over yet; what pjsua2 raises would end it, and its call."""
    while True:
        try:
            return offer()
        except pjsua2.Error:
            endpoint.libHandleEvents(POLL_MS)


def message(account, uri, text):
    buddy = pjsua2.Buddy()
    config = pjsua2.BuddyConfig()
    config.uri = uri
    buddy.create(account, config)
    content = pjsua2.SendInstantMessageParam()
    content.content = text
    content.contentType = "text/plain"
    buddy.sendInstantMessage(content)


def obey(endpoint, account, request):
    do, uri = request["do"], request.get("uri")
    if do == "call":
        call(account, uri)
    elif do == "call without offer":
        call(account, uri, pjsua2.PJSUA_CALL_NO_SDP_OFFER)
    elif do == "answer early":
        answer(183)
    elif do == "answer":
        answer(200)
    elif do == "hang up":
        hang_up()
    elif do == "hold":
        once_possible(endpoint, hold)
    elif do == "resume":
        once_possible(endpoint, resume)
    elif do == "press":
        Call.current.dialDtmf(request["key"])
    elif do == "transfer":
        Call.current.xfer(uri, pjsua2.CallOpParam(True))
    elif do == "message":
        message(account, uri, request["text"])
    else:
        raise ValueError(do)


def start(endpoint, transport, tone_hz):
    config = pjsua2.EpConfig()
    # Callbacks come from libHandleEvents, on this thread.
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    # It takes an even tone for silence.
    config.medConfig.noVad = True
    # A closed device, even of this kind, leaves a call's media waiting for its clock.
    config.medConfig.sndAutoCloseTime = -1
    config.logConfig.level = config.logConfig.consoleLevel = 0
    config.logConfig.filename = "pjsua.log"
    config.logConfig.level = 5
    endpoint.libCreate()
    endpoint.libInit(config)
    kind = {"udp": pjsua2.PJSIP_TRANSPORT_UDP, "tcp": pjsua2.PJSIP_TRANSPORT_TCP, "tls": pjsua2.PJSIP_TRANSPORT_TLS}[transport]
    listener = pjsua2.TransportConfig()
    listener.boundAddress = "127.0.0.1"
    endpoint.transportCreate(kind, listener)
    endpoint.audDevManager().setNullDev()
    endpoint.libStart()
    Sound.start(tone_hz)


def register(user, domain, server, transport, password, srtp):
    config = pjsua2.AccountConfig()
    config.idUri = f"sip:{user}@{domain}"
    config.regConfig.registrarUri = f"sip:{domain}"
    # Or it offers anew after each answer that leaves a choice.
    config.mediaConfig.lockCodecEnabled = False
    config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    config.mediaConfig.srtpUse = srtp
    config.mediaConfig.srtpSecureSignaling = 0
    config.sipConfig.proxies.append(f"sip:{server};transport={transport};lr")
    config.sipConfig.authCreds.append(pjsua2.AuthCredInfo("digest", "*", user, 0, password))
    account = Account()
    account.create(config)
    return account


def main():
    endpoint = pjsua2.Endpoint()
    transport = sys.argv[4]
    start(endpoint, transport, int(sys.argv[6]))
    srtp = {"plain": pjsua2.PJMEDIA_SRTP_DISABLED, "sdes": pjsua2.PJMEDIA_SRTP_MANDATORY}[sys.argv[7]]
    account = register(*sys.argv[1:6], srtp)
    unread = b""
    while True:
        endpoint.libHandleEvents(POLL_MS)
        if not select.select([sys.stdin], [], [], 0)[0]:
            continue
        read = os.read(sys.stdin.fileno(), 65536)
        if not read:
            # What pjsua2 has to say when it goes, nobody waits for.
            os._exit(0)
        *lines, unread = (unread + read).split(b"\n")
        for line in lines:
            obey(endpoint, account, json.loads(line))


main()
