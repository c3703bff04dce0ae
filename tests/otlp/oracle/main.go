// Says what the OpenTelemetry Collector's own code makes of OTLP requests, line by line from stdin to stdout.
//
//	decode SIGNAL FORMAT BASE64
//	    -> ok ITEMS BASE64_PROTOBUF BASE64_JSON      what it read, as it writes it
//	    -> error TEXT                                why the Collector refuses it
//	corpus SEED COUNT
//	    -> COUNT times: request SIGNAL BASE64_PROTOBUF BASE64_JSON
//	send ADDRESS COMPRESSION SIGNAL BASE64_PROTOBUF
//	    -> sent REJECTED TEXT                        what a receiver answered over gRPC
//	    -> refused CODE DELAY TEXT                   why it did not take it, and when it will, or never
//
// SIGNAL is traces, metrics or logs, FORMAT protobuf or json, COMPRESSION none, gzip or zstd. A line that is none of these
// ends the program.
package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
)

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return
		}
		check(err)
		answer(out, strings.Fields(line))
		check(out.Flush())
	}
}

func answer(out io.Writer, words []string) {
	switch {
	case len(words) == 4 && words[0] == "decode":
		decode(out, words[1], words[2], words[3])
	// Nothing is between the blanks when the request is empty.
	case len(words) == 3 && words[0] == "decode":
		decode(out, words[1], words[2], "")
	case len(words) == 3 && words[0] == "corpus":
		corpus(out, words[1], words[2])
	case len(words) == 5 && words[0] == "send":
		send(out, words[1], words[2], words[3], words[4])
	case len(words) == 4 && words[0] == "send":
		send(out, words[1], words[2], words[3], "")
	default:
		log.Fatalf("not a command: %.80q", words)
	}
}

func decode(out io.Writer, signal, format, text string) {
	bytes, err := base64.StdEncoding.DecodeString(text)
	check(err)
	request, err := read(signal, format, bytes)
	if err != nil {
		fmt.Fprintf(out, "error %s\n", oneLine(err.Error()))
		return
	}
	protobuf, json := write(request)
	fmt.Fprintf(out, "ok %d %s %s\n", request.items(), protobuf, json)
}

// Both forms of a request, in base64.
func write(request request) (protobuf, json string) {
	bytes, err := request.protobuf()
	check(err)
	text, err := request.json()
	check(err)
	return base64.StdEncoding.EncodeToString(bytes), base64.StdEncoding.EncodeToString(text)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
