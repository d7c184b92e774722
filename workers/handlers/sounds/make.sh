#!/bin/sh
# Makes the prompts that come with pageline: espeak-ng speaks, sox lays a quiet 440 Hz pilot tone under the voice and
# encodes to Ogg Opus. The pilot is what `pageline demo` and the tests look for at the far end of a call.
set -eu
cd "$(dirname "$0")"
prompt() {
    espeak-ng -v en-us+f3 -s 165 -p 45 -w "$1.wav" "$2"
    sox "$1.wav" -r 48000 -c 1 "$1-voice.wav" norm -6 pad 0.15 0.35
    seconds=$(soxi -D "$1-voice.wav")
    sox -n -r 48000 -c 1 "$1-pilot.wav" synth "$seconds" sine 440 gain -30 fade 0.05 "$seconds" 0.05
    sox -m -v 1 "$1-voice.wav" -v 1 "$1-pilot.wav" "$1-mixed.wav"
    opusenc --quiet --bitrate 32 --comp 10 --discard-comments "$1-mixed.wav" "$1.ogg"
    rm -f "$1.wav" "$1-voice.wav" "$1-pilot.wav" "$1-mixed.wav"
}
prompt welcome "Hello, and welcome to page line. This call was answered by a program on this machine. If you can hear these words, everything between Messenger and this voice works."
prompt goodbye "Thank you for calling. Goodbye!"
prompt leave_a_message "Nobody can take your call at the moment. Please leave a message after the tone. When you are done, press any key, or hang up."
sox -n -r 48000 -c 1 -b 16 beep.wav synth 0.4 sine 1000 gain -12 fade 0.01 0.4 0.01 pad 0 0.1
opusenc --quiet --bitrate 32 --comp 10 --discard-comments beep.wav beep.ogg
rm -f beep.wav
prompt ../../media/last_words "This call has to end, goodbye."
