package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Values nest no deeper than this.
const depthMax = 4

// Writes requests of the three signals in turn. The same seed gives the same requests.
func corpus(out io.Writer, seed, count string) {
	start, err := strconv.ParseUint(seed, 10, 64)
	check(err)
	end, err := strconv.ParseUint(count, 10, 32)
	check(err)
	for index := range end {
		m := maker{rand.New(rand.NewPCG(start, index))}
		var signal string
		var request request
		switch index % 3 {
		case 0:
			signal, request = "traces", traces{m.traces()}
		case 1:
			signal, request = "metrics", metrics{m.metrics()}
		case 2:
			signal, request = "logs", logs{m.logs()}
		}
		protobuf, json := write(request)
		fmt.Fprintf(out, "request %s %s %s\n", signal, protobuf, json)
	}
}

// Makes parts of requests up. Every field is absent or default now and then.
type maker struct{ *rand.Rand }

var texts = []string{
	"", "a", "GET /", "\"quoted\" \\ / \b\f\n\r\t\x01\x1f\x7f", "<b>&amp;</b>", "čeština \u2028\u2029\u00a0", "\U0001f600\u200d\ufeff\uffff",
	"null", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
}

var names = []string{
	"service.name", "host.name", "http.method", "tenant", "", "ключ", "\U0001f511", "with \"quotes\"",
}

var doubles = []float64{
	0, math.Copysign(0, -1), 1, -1.5, 0.1, 1e-6, 9.999999e-7, -1e-7, 1e-10, 1e20, 1e21, -1e21, 1.5e300, 123456789.125, 1 << 53,
	math.MaxFloat64, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1),
}

var integers = []uint64{0, 1, 127, 128, 1 << 31, 1<<32 - 1, 1 << 53, 1<<53 + 1, 1<<63 - 1, 1 << 63, math.MaxUint64}

func pick[T any](m maker, all []T) T { return all[m.IntN(len(all))] }

func (m maker) text() string { return pick(m, texts) }

func (m maker) yes() bool { return m.IntN(2) == 0 }

// Half of them are where something changes.
func (m maker) double() float64 {
	if m.yes() {
		return pick(m, doubles)
	}
	return m.NormFloat64() * math.Pow(10, float64(m.IntN(60)-30))
}

func (m maker) integer() uint64 {
	if m.yes() {
		return pick(m, integers)
	}
	return m.Uint64() >> m.IntN(64)
}

func (m maker) small() uint32 { return uint32(m.integer()) }

func (m maker) time() pcommon.Timestamp { return pcommon.Timestamp(m.integer()) }

// A few values, so that items share trace ids; none, one that is nearly none, and a full one are among them.
func (m maker) traceID() (id pcommon.TraceID) {
	switch m.IntN(5) {
	case 0:
	case 1:
		id[15] = 1
	case 2:
		for i := range id {
			id[i] = 0xff
		}
	default:
		id[0], id[8] = 0xa0, byte(m.IntN(3))
	}
	return id
}

func (m maker) spanID() (id pcommon.SpanID) {
	switch m.IntN(4) {
	case 0:
	case 1:
		for i := range id {
			id[i] = 0xff
		}
	default:
		id[m.IntN(8)] = byte(m.integer())
	}
	return id
}

func (m maker) attributes(out pcommon.Map, depth int) {
	for range m.IntN(5) {
		m.value(out.PutEmpty(pick(m, names)), depth)
	}
}

// A value of any kind, the empty one too.
func (m maker) value(out pcommon.Value, depth int) {
	kinds := 8
	if depth == depthMax {
		kinds = 6
	}
	switch m.IntN(kinds) {
	case 0:
	case 1:
		out.SetStr(m.text())
	case 2:
		out.SetBool(m.yes())
	case 3:
		out.SetInt(int64(m.integer()))
	case 4:
		out.SetDouble(m.double())
	case 5:
		bytes := out.SetEmptyBytes()
		for range m.IntN(6) {
			bytes.Append(byte(m.Uint32()))
		}
	case 6:
		values := out.SetEmptySlice()
		for range m.IntN(4) {
			m.value(values.AppendEmpty(), depth+1)
		}
	case 7:
		m.attributes(out.SetEmptyMap(), depth+1)
	}
}

// How many a request has: seldom none.
func (m maker) resources() int {
	if m.IntN(16) == 0 {
		return 0
	}
	return 1 + m.IntN(3)
}

func (m maker) resource(out pcommon.Resource) {
	m.attributes(out.Attributes(), 0)
	if m.yes() {
		out.SetDroppedAttributesCount(m.small())
	}
}

func (m maker) scope(out pcommon.InstrumentationScope) {
	if m.yes() {
		return
	}
	out.SetName(m.text())
	out.SetVersion(m.text())
	m.attributes(out.Attributes(), 0)
	out.SetDroppedAttributesCount(m.small())
}

func (m maker) traces() ptrace.Traces {
	out := ptrace.NewTraces()
	for range m.resources() {
		resource := out.ResourceSpans().AppendEmpty()
		m.resource(resource.Resource())
		resource.SetSchemaUrl(m.text())
		for range m.IntN(4) {
			scope := resource.ScopeSpans().AppendEmpty()
			m.scope(scope.Scope())
			scope.SetSchemaUrl(m.text())
			for range m.IntN(4) {
				m.span(scope.Spans().AppendEmpty())
			}
		}
	}
	return out
}

func (m maker) span(out ptrace.Span) {
	out.SetTraceID(m.traceID())
	// A span with nothing but an id.
	if m.IntN(8) == 0 {
		return
	}
	out.SetSpanID(m.spanID())
	out.SetParentSpanID(m.spanID())
	out.TraceState().FromRaw(m.text())
	out.SetFlags(m.small())
	out.SetName(m.text())
	out.SetKind(ptrace.SpanKind(m.IntN(6)))
	out.SetStartTimestamp(m.time())
	out.SetEndTimestamp(m.time())
	m.attributes(out.Attributes(), 0)
	out.SetDroppedAttributesCount(m.small())
	for range m.IntN(3) {
		event := out.Events().AppendEmpty()
		event.SetTimestamp(m.time())
		event.SetName(m.text())
		m.attributes(event.Attributes(), 1)
		event.SetDroppedAttributesCount(m.small())
	}
	out.SetDroppedEventsCount(m.small())
	for range m.IntN(3) {
		link := out.Links().AppendEmpty()
		link.SetTraceID(m.traceID())
		link.SetSpanID(m.spanID())
		link.TraceState().FromRaw(m.text())
		m.attributes(link.Attributes(), 1)
		link.SetDroppedAttributesCount(m.small())
		link.SetFlags(m.small())
	}
	out.SetDroppedLinksCount(m.small())
	out.Status().SetCode(ptrace.StatusCode(m.IntN(3)))
	out.Status().SetMessage(m.text())
}

func (m maker) logs() plog.Logs {
	out := plog.NewLogs()
	for range m.resources() {
		resource := out.ResourceLogs().AppendEmpty()
		m.resource(resource.Resource())
		resource.SetSchemaUrl(m.text())
		for range m.IntN(4) {
			scope := resource.ScopeLogs().AppendEmpty()
			m.scope(scope.Scope())
			scope.SetSchemaUrl(m.text())
			for range m.IntN(4) {
				m.logRecord(scope.LogRecords().AppendEmpty())
			}
		}
	}
	return out
}

func (m maker) logRecord(out plog.LogRecord) {
	// A record with nothing at all.
	if m.IntN(8) == 0 {
		return
	}
	out.SetTimestamp(m.time())
	out.SetObservedTimestamp(m.time())
	out.SetSeverityNumber(plog.SeverityNumber(m.IntN(25)))
	out.SetSeverityText(m.text())
	m.value(out.Body(), 0)
	m.attributes(out.Attributes(), 0)
	out.SetDroppedAttributesCount(m.small())
	out.SetFlags(plog.LogRecordFlags(m.small()))
	out.SetTraceID(m.traceID())
	out.SetSpanID(m.spanID())
	out.SetEventName(m.text())
}

func (m maker) metrics() pmetric.Metrics {
	out := pmetric.NewMetrics()
	for range m.resources() {
		resource := out.ResourceMetrics().AppendEmpty()
		m.resource(resource.Resource())
		resource.SetSchemaUrl(m.text())
		for range m.IntN(3) {
			scope := resource.ScopeMetrics().AppendEmpty()
			m.scope(scope.Scope())
			scope.SetSchemaUrl(m.text())
			for range m.IntN(4) {
				m.metric(scope.Metrics().AppendEmpty())
			}
		}
	}
	return out
}

func (m maker) temporality() pmetric.AggregationTemporality {
	return pmetric.AggregationTemporality(m.IntN(3))
}

// A metric of any kind, the empty one too.
func (m maker) metric(out pmetric.Metric) {
	out.SetName(m.text())
	out.SetDescription(m.text())
	out.SetUnit(m.text())
	m.attributes(out.Metadata(), 1)
	switch m.IntN(6) {
	case 0:
	case 1:
		m.numbers(out.SetEmptyGauge().DataPoints())
	case 2:
		sum := out.SetEmptySum()
		sum.SetAggregationTemporality(m.temporality())
		sum.SetIsMonotonic(m.yes())
		m.numbers(sum.DataPoints())
	case 3:
		histogram := out.SetEmptyHistogram()
		histogram.SetAggregationTemporality(m.temporality())
		for range m.IntN(4) {
			m.histogram(histogram.DataPoints().AppendEmpty())
		}
	case 4:
		histogram := out.SetEmptyExponentialHistogram()
		histogram.SetAggregationTemporality(m.temporality())
		for range m.IntN(4) {
			m.exponentialHistogram(histogram.DataPoints().AppendEmpty())
		}
	case 5:
		summary := out.SetEmptySummary()
		for range m.IntN(4) {
			m.summary(summary.DataPoints().AppendEmpty())
		}
	}
}

func (m maker) numbers(out pmetric.NumberDataPointSlice) {
	for range m.IntN(4) {
		point := out.AppendEmpty()
		m.attributes(point.Attributes(), 1)
		point.SetStartTimestamp(m.time())
		point.SetTimestamp(m.time())
		switch m.IntN(3) {
		case 0:
		case 1:
			point.SetDoubleValue(m.double())
		case 2:
			point.SetIntValue(int64(m.integer()))
		}
		m.exemplars(point.Exemplars())
		point.SetFlags(pmetric.DataPointFlags(m.small()))
	}
}

func (m maker) histogram(out pmetric.HistogramDataPoint) {
	m.attributes(out.Attributes(), 1)
	out.SetStartTimestamp(m.time())
	out.SetTimestamp(m.time())
	out.SetCount(m.integer())
	m.bounds(out)
	for range m.IntN(4) {
		out.BucketCounts().Append(m.integer())
		out.ExplicitBounds().Append(m.double())
	}
	m.exemplars(out.Exemplars())
	out.SetFlags(pmetric.DataPointFlags(m.small()))
}

func (m maker) exponentialHistogram(out pmetric.ExponentialHistogramDataPoint) {
	m.attributes(out.Attributes(), 1)
	out.SetStartTimestamp(m.time())
	out.SetTimestamp(m.time())
	out.SetCount(m.integer())
	m.bounds(out)
	out.SetScale(int32(m.small()))
	out.SetZeroCount(m.integer())
	out.SetZeroThreshold(m.double())
	for _, buckets := range []pmetric.ExponentialHistogramDataPointBuckets{out.Positive(), out.Negative()} {
		if m.yes() {
			buckets.SetOffset(int32(m.small()))
		}
		for range m.IntN(4) {
			buckets.BucketCounts().Append(m.integer())
		}
	}
	m.exemplars(out.Exemplars())
	out.SetFlags(pmetric.DataPointFlags(m.small()))
}

// Sum, minimum and maximum, each of which may be missing, which is not the same as zero.
func (m maker) bounds(out interface {
	SetSum(float64)
	SetMin(float64)
	SetMax(float64)
}) {
	for _, set := range []func(float64){out.SetSum, out.SetMin, out.SetMax} {
		if m.yes() {
			set(m.double())
		}
	}
}

func (m maker) summary(out pmetric.SummaryDataPoint) {
	m.attributes(out.Attributes(), 1)
	out.SetStartTimestamp(m.time())
	out.SetTimestamp(m.time())
	out.SetCount(m.integer())
	out.SetSum(m.double())
	for range m.IntN(4) {
		value := out.QuantileValues().AppendEmpty()
		value.SetQuantile(m.double())
		value.SetValue(m.double())
	}
	out.SetFlags(pmetric.DataPointFlags(m.small()))
}

func (m maker) exemplars(out pmetric.ExemplarSlice) {
	for range m.IntN(3) {
		exemplar := out.AppendEmpty()
		m.attributes(exemplar.FilteredAttributes(), 2)
		exemplar.SetTimestamp(m.time())
		switch m.IntN(3) {
		case 0:
		case 1:
			exemplar.SetDoubleValue(m.double())
		case 2:
			exemplar.SetIntValue(int64(m.integer()))
		}
		exemplar.SetSpanID(m.spanID())
		exemplar.SetTraceID(m.traceID())
	}
}
