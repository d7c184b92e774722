// Answers calls and sends each packet back undecoded: pion, as one would write it in Go. Nothing kept, nothing repeated.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/pion/webrtc/v3"
)

type element struct {
	ID    string `json:"id"`
	Event string `json:"event"`
}

type entry struct {
	ID    string    `json:"id"`
	Calls []element `json:"calls"`
}

type session struct {
	Type   string `json:"sdp_type"`
	SDP    string `json:"sdp,omitempty"`
	Answer string `json:"sdp_response,omitempty"`
}

var (
	secret = []byte(os.Getenv("META_APP_SECRET"))
	graph  = os.Getenv("GRAPH_URL") + "/" + os.Getenv("GRAPH_VERSION")
	api    *webrtc.API
	lock   sync.Mutex
	peers  = map[string]*webrtc.PeerConnection{}
)

func webhook(reply http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	if request.Method != http.MethodPost {
		io.WriteString(reply, "pion")
		return
	}
	sum := hmac.New(sha256.New, secret)
	sum.Write(body)
	expected := "sha256=" + hex.EncodeToString(sum.Sum(nil))
	if !hmac.Equal([]byte(expected), []byte(request.Header.Get("x-hub-signature-256"))) {
		http.Error(reply, "bad signature", http.StatusUnauthorized)
		return
	}
	var said struct {
		Entry []entry `json:"entry"`
	}
	if json.Unmarshal(body, &said) != nil {
		http.Error(reply, "bad body", http.StatusBadRequest)
		return
	}
	for _, page := range said.Entry {
		for _, call := range page.Calls {
			go handle(page.ID, call)
		}
	}
	io.WriteString(reply, "{}")
}

func handle(page string, call element) {
	switch call.Event {
	case "connect":
		if err := answer(page, call.ID); err != nil {
			log.Println(call.ID, err)
		}
	case "terminate":
		lock.Lock()
		peer := peers[call.ID]
		delete(peers, call.ID)
		lock.Unlock()
		if peer != nil {
			peer.Close()
		}
	}
}

func answer(page, id string) error {
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	lock.Lock()
	peers[id] = peer
	lock.Unlock()
	opus := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	echo, err := webrtc.NewTrackLocalStaticRTP(opus, "audio", "echo")
	if err != nil {
		return err
	}
	sender, err := peer.AddTrack(echo)
	if err != nil {
		return err
	}
	go func() { // pion's interceptors see RTCP only if somebody reads it
		buffer := make([]byte, 1500)
		for {
			if _, _, err := sender.Read(buffer); err != nil {
				return
			}
		}
	}()
	peer.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		buffer := make([]byte, 1500)
		for {
			count, _, err := track.Read(buffer)
			if err != nil {
				return
			}
			if _, err = echo.Write(buffer[:count]); err != nil {
				return
			}
		}
	})
	offer, err := peer.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(peer)
	if err = peer.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	return accept(page, id, peer)
}

func accept(page, id string, peer *webrtc.PeerConnection) error {
	action, _ := json.Marshal(map[string]any{
		"platform": "messenger",
		"call_id":  id,
		"action":   "accept",
		"session":  session{Type: "offer", SDP: peer.LocalDescription().SDP},
	})
	reply, err := http.Post(graph+"/"+page+"/calls", "application/json", bytes.NewReader(action))
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	var granted struct {
		Session session `json:"session"`
	}
	if err = json.NewDecoder(reply.Body).Decode(&granted); err != nil {
		return err
	}
	return peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: granted.Session.Answer})
}

func main() {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		log.Fatal(err)
	}
	api = webrtc.NewAPI(webrtc.WithMediaEngine(media))
	http.HandleFunc("/webhook", webhook)
	log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%s", os.Getenv("PORT")), nil))
}
