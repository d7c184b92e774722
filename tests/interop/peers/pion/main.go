// A telephone made of pion: says back what it hears, notes the digits it is sent, and presses digits itself.
// Reads one JSON command per line and answers each with one line. With -lite it is ICE-lite, as Meta is.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v3"
)

const (
	opus          = "audio/opus"
	event         = "audio/telephone-event"
	keys          = "0123456789*#ABCD" // RFC 4733 section 3.2
	packet        = 20 * time.Millisecond
	packetSamples = 960
	digitPackets  = 6
)

type command struct {
	Do      string
	SDP     string
	Digits  string
	Restart bool
	Video   bool
}

type reply struct {
	SDP    string `json:"sdp,omitempty"`
	Digits string `json:"digits,omitempty"`
	State  string `json:"state,omitempty"`
	Error  string `json:"error,omitempty"`
}

// mouth writes below pion's tracks, which give every packet the payload type of Opus.
type mouth struct {
	interceptor.NoOp
	sync.Mutex
	writer   interceptor.RTPWriter
	header   rtp.Header
	opusType uint8
	pressing bool
}

func (m *mouth) NewInterceptor(string) (interceptor.Interceptor, error) { return m, nil }

func (m *mouth) BindLocalStream(info *interceptor.StreamInfo, writer interceptor.RTPWriter) interceptor.RTPWriter {
	m.Lock()
	defer m.Unlock()
	if info.MimeType == opus {
		m.writer, m.opusType = writer, info.PayloadType
		m.header = rtp.Header{Version: 2, SSRC: info.SSRC}
	}
	return writer
}

// write sends one packet; the lock is held.
func (m *mouth) write(payloadType uint8, marker bool, payload []byte) {
	if m.writer == nil {
		return
	}
	header := m.header
	header.PayloadType, header.Marker = payloadType, marker
	m.header.SequenceNumber++
	_, _ = m.writer.Write(&header, payload, nil)
}

// echo says an Opus packet back, unless digits are being pressed.
func (m *mouth) echo(heard *rtp.Packet) {
	m.Lock()
	defer m.Unlock()
	if !m.pressing {
		m.header.Timestamp += packetSamples
		m.write(m.opusType, false, heard.Payload)
	}
}

// press sends each digit as RFC 4733 has it: one timestamp, a growing duration, the last packet three times.
func (m *mouth) press(digits string, payloadType uint8, clockRate uint32) {
	m.setPressing(true)
	for _, digit := range digits {
		key := byte(strings.IndexRune(keys, digit))
		for n := 1; n <= digitPackets; n++ {
			m.Lock()
			duration := uint32(n) * clockRate / 50
			payload := []byte{key, 10, byte(duration >> 8), byte(duration)}
			times := 1
			if n == digitPackets {
				payload[1] |= 0x80
				times = 3
			}
			for ; times > 0; times-- {
				m.write(payloadType, n == 1, payload)
			}
			m.Unlock()
			time.Sleep(packet)
		}
		m.Lock()
		m.header.Timestamp += (digitPackets + 3) * packetSamples
		m.Unlock()
		time.Sleep(3 * packet)
	}
	m.setPressing(false)
}

func (m *mouth) setPressing(pressing bool) {
	m.Lock()
	defer m.Unlock()
	m.pressing = pressing
}

// notes holds the digits heard, each once: a digit is known by its timestamp.
type notes struct {
	sync.Mutex
	digits string
	last   uint32
}

func (n *notes) take(heard *rtp.Packet) {
	n.Lock()
	defer n.Unlock()
	ended := len(heard.Payload) >= 4 && heard.Payload[1]&0x80 != 0
	if ended && int(heard.Payload[0]) < len(keys) && heard.Timestamp != n.last {
		n.digits += string(keys[heard.Payload[0]])
		n.last = heard.Timestamp
	}
}

type phone struct {
	pc    *webrtc.PeerConnection
	mouth *mouth
	notes *notes
}

func newPhone(lite bool) (*phone, error) {
	p := &phone{mouth: &mouth{}, notes: &notes{}}
	media, registry, settings := &webrtc.MediaEngine{}, &interceptor.Registry{}, webrtc.SettingEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	for payloadType, clockRate := range map[webrtc.PayloadType]uint32{110: 48000, 126: 8000} {
		capability := webrtc.RTPCodecCapability{MimeType: event, ClockRate: clockRate, SDPFmtpLine: "0-16"}
		codec := webrtc.RTPCodecParameters{RTPCodecCapability: capability, PayloadType: payloadType}
		if err := media.RegisterCodec(codec, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, err
		}
	}
	registry.Add(p.mouth)
	if err := webrtc.RegisterDefaultInterceptors(media, registry); err != nil {
		return nil, err
	}
	settings.SetLite(lite)
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	p.pc = pc
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: opus}, "voice", "phone")
	if err != nil {
		return nil, err
	}
	if _, err := pc.AddTrack(track); err != nil {
		return nil, err
	}
	pc.OnTrack(p.hear)
	return p, nil
}

func (p *phone) hear(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	for {
		heard, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if heard.PayloadType == 110 || heard.PayloadType == 126 {
			p.notes.take(heard)
		} else if len(heard.Payload) > 0 {
			p.mouth.echo(heard)
		}
	}
}

// describe sets a local description and returns it once its candidates are gathered.
func (p *phone) describe(description webrtc.SessionDescription, err error) (string, error) {
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(description); err != nil {
		return "", err
	}
	<-gathered
	return p.pc.LocalDescription().SDP, nil
}

func (p *phone) do(c command) (r reply, err error) {
	switch c.Do {
	case "answer":
		offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: c.SDP}
		if err = p.pc.SetRemoteDescription(offer); err == nil {
			r.SDP, err = p.describe(p.pc.CreateAnswer(nil))
		}
	case "offer":
		if c.Video {
			// Only to receive: pion v3 fails an answer that rejects what it wants to send.
			receive := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
			if _, err = p.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, receive); err != nil {
				return
			}
		}
		r.SDP, err = p.describe(p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: c.Restart}))
	case "take":
		err = p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: c.SDP})
	case "press":
		p.mouth.press(c.Digits, 110, 48000)
	case "report":
		p.notes.Lock()
		defer p.notes.Unlock()
		r.Digits, r.State = p.notes.digits, p.pc.ICEConnectionState().String()
	default:
		err = errors.New("unknown command " + c.Do)
	}
	return
}

func main() {
	lite := flag.Bool("lite", false, "be ICE-lite")
	flag.Parse()
	p, err := newPhone(*lite)
	if err != nil {
		panic(err)
	}
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		var r reply
		if err = json.Unmarshal(lines.Bytes(), &c); err == nil {
			r, err = p.do(c)
		}
		if err != nil {
			r.Error = err.Error()
		}
		_ = out.Encode(r)
	}
}
