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
prompt you_are_number "You are number"
number=1
for word in one two three four five six seven eight nine; do
    prompt "number_$number" "$word."
    number=$((number + 1))
done
prompt press_one_for_a_call_back "Nobody can take your call at the moment. To be called back, press 1. To leave a message, press any other key."
prompt we_will_call_you_back "Thank you. We will call you back. Please allow it, when Messenger asks you. Goodbye!"
chord=1
for notes in "C4 E4 G4 C5" "A3 C4 E4 A4" "F3 A3 C4 F4" "G3 B3 D4 G4"; do
    for note in $notes; do
        sox -n -r 48000 -c 1 "waiting_music-$chord-$note.wav" synth 3.2 pluck "$note" fade 0.01 3.2 2 gain -14
    done
    set -- $notes
    sox -m "waiting_music-$chord-$1.wav" "|sox waiting_music-$chord-$2.wav -p pad 0.4" \
        "|sox waiting_music-$chord-$3.wav -p pad 0.8" "|sox waiting_music-$chord-$4.wav -p pad 1.2" \
        "waiting_music-$chord.wav" trim 0 3.2 norm -15
    chord=$((chord + 1))
done
sox waiting_music-[1-4].wav waiting_music-[1-4].wav -b 16 waiting_music.wav fade 0.02 25.6 0.5
opusenc --quiet --bitrate 32 --comp 10 --discard-comments waiting_music.wav waiting_music.ogg
rm -f waiting_music*.wav
prompt ../../media/last_words "This call has to end, goodbye."
prompt ../../media/apology "Sorry, something went wrong. Please call again later."
