package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	// The Collector's zstd.
	_ "github.com/mostynb/go-grpc-compression/nonclobbering/zstd"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
)

// Longer than a receiver may think about a request.
const patience = 30 * time.Second

// One to each address, as the Collector's exporter keeps them.
var connections = map[string]*grpc.ClientConn{}

// Sends a request as the Collector's exporter does: by grpc-go, with the clients of pdata.
func send(out io.Writer, address, compression, signal, text string) {
	bytes, err := base64.StdEncoding.DecodeString(text)
	check(err)
	request, err := read(signal, "protobuf", bytes)
	check(err)
	var options []grpc.CallOption
	if compression != "none" {
		options = append(options, grpc.UseCompressor(compression))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rejected, message, err := export(ctx, connection(address), request, options)
	if err != nil {
		refusal := status.Convert(err)
		fmt.Fprintf(out, "refused %s %s %s\n", refusal.Code(), delay(refusal), oneLine(refusal.Message()))
		return
	}
	fmt.Fprintf(out, "sent %d %s\n", rejected, oneLine(message))
}

func connection(address string) *grpc.ClientConn {
	known, ok := connections[address]
	if !ok {
		var err error
		known, err = grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		check(err)
		connections[address] = known
	}
	return known
}

func export(
	ctx context.Context, to *grpc.ClientConn, request request, options []grpc.CallOption,
) (rejected int64, message string, err error) {
	switch request := request.(type) {
	case traces:
		answer, err := ptraceotlp.NewGRPCClient(to).Export(ctx, ptraceotlp.NewExportRequestFromTraces(request.Traces), options...)
		if err != nil {
			return 0, "", err
		}
		return answer.PartialSuccess().RejectedSpans(), answer.PartialSuccess().ErrorMessage(), nil
	case metrics:
		answer, err := pmetricotlp.NewGRPCClient(to).Export(ctx, pmetricotlp.NewExportRequestFromMetrics(request.Metrics), options...)
		if err != nil {
			return 0, "", err
		}
		return answer.PartialSuccess().RejectedDataPoints(), answer.PartialSuccess().ErrorMessage(), nil
	case logs:
		answer, err := plogotlp.NewGRPCClient(to).Export(ctx, plogotlp.NewExportRequestFromLogs(request.Logs), options...)
		if err != nil {
			return 0, "", err
		}
		return answer.PartialSuccess().RejectedLogRecords(), answer.PartialSuccess().ErrorMessage(), nil
	}
	log.Fatalf("no signal: %T", request)
	return
}

// When a refused request should be sent again, by the words of google.rpc.RetryInfo.
func delay(refusal *status.Status) string {
	for _, detail := range refusal.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.RetryDelay.AsDuration().String()
		}
	}
	return "never"
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
