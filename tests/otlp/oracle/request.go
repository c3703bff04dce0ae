package main

import (
	"log"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// A request of any signal. Protobuf goes through the types of the Collector's OTLP receiver and exporter, JSON through
// those of its file and Kafka components.
type request interface {
	// Spans, data points or log records.
	items() int
	protobuf() ([]byte, error)
	json() ([]byte, error)
}

type traces struct{ ptrace.Traces }

type metrics struct{ pmetric.Metrics }

type logs struct{ plog.Logs }

func read(signal, format string, bytes []byte) (request, error) {
	switch signal + " " + format {
	case "traces protobuf":
		export := ptraceotlp.NewExportRequest()
		err := export.UnmarshalProto(bytes)
		return traces{export.Traces()}, err
	case "traces json":
		read, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(bytes)
		return traces{read}, err
	case "metrics protobuf":
		export := pmetricotlp.NewExportRequest()
		err := export.UnmarshalProto(bytes)
		return metrics{export.Metrics()}, err
	case "metrics json":
		read, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(bytes)
		return metrics{read}, err
	case "logs protobuf":
		export := plogotlp.NewExportRequest()
		err := export.UnmarshalProto(bytes)
		return logs{export.Logs()}, err
	case "logs json":
		read, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(bytes)
		return logs{read}, err
	}
	log.Fatalf("no signal and format: %s %s", signal, format)
	return nil, nil
}

func (r traces) items() int { return r.SpanCount() }

func (r traces) protobuf() ([]byte, error) {
	return ptraceotlp.NewExportRequestFromTraces(r.Traces).MarshalProto()
}

func (r traces) json() ([]byte, error) { return (&ptrace.JSONMarshaler{}).MarshalTraces(r.Traces) }

func (r metrics) items() int { return r.DataPointCount() }

func (r metrics) protobuf() ([]byte, error) {
	return pmetricotlp.NewExportRequestFromMetrics(r.Metrics).MarshalProto()
}

func (r metrics) json() ([]byte, error) { return (&pmetric.JSONMarshaler{}).MarshalMetrics(r.Metrics) }

func (r logs) items() int { return r.LogRecordCount() }

func (r logs) protobuf() ([]byte, error) {
	return plogotlp.NewExportRequestFromLogs(r.Logs).MarshalProto()
}

func (r logs) json() ([]byte, error) { return (&plog.JSONMarshaler{}).MarshalLogs(r.Logs) }
