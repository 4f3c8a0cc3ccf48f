package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/credentials"

	"holdmetrics/cmd/holdmetrics/internal/settings"
)

// The pauses after a request that the collector did not take, and how long it is sent
// again.
const (
	retryFirst = time.Second
	retryMost  = 5 * time.Second
	retryFor   = 20 * time.Second
)

// The exporters take these options for each signal and protocol from packages of their
// own, whose types differ.

func newTraces(ctx context.Context, s *settings.Signal) (sdktrace.SpanExporter, error) {
	secure, err := tlsOf(s)
	if err != nil {
		return nil, err
	}
	if s.Protocol == settings.ProtocolGRPC {
		o := []otlptracegrpc.Option{
			otlptracegrpc.WithEndpoint(s.URL.Host), otlptracegrpc.WithHeaders(s.Headers), otlptracegrpc.WithTimeout(s.Timeout),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryFor}),
		}
		if s.Compress {
			o = append(o, otlptracegrpc.WithCompressor("gzip"))
		}
		if secure == nil {
			o = append(o, otlptracegrpc.WithInsecure())
		} else {
			o = append(o, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(secure)))
		}
		return otlptracegrpc.New(ctx, o...)
	}
	o := []otlptracehttp.Option{
		otlptracehttp.WithEndpoint(s.URL.Host), otlptracehttp.WithURLPath(s.URL.Path), otlptracehttp.WithHeaders(s.Headers), otlptracehttp.WithTimeout(s.Timeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryFor}),
		otlptracehttp.WithCompression(otlptracehttp.Compression(compression(s))),
	}
	if secure == nil {
		o = append(o, otlptracehttp.WithInsecure())
	} else {
		o = append(o, otlptracehttp.WithTLSClientConfig(secure))
	}
	return otlptracehttp.New(ctx, o...)
}

func newLogs(ctx context.Context, s *settings.Signal) (sdklog.Exporter, error) {
	secure, err := tlsOf(s)
	if err != nil {
		return nil, err
	}
	if s.Protocol == settings.ProtocolGRPC {
		o := []otlploggrpc.Option{
			otlploggrpc.WithEndpoint(s.URL.Host), otlploggrpc.WithHeaders(s.Headers), otlploggrpc.WithTimeout(s.Timeout),
			otlploggrpc.WithRetry(otlploggrpc.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryFor}),
		}
		if s.Compress {
			o = append(o, otlploggrpc.WithCompressor("gzip"))
		}
		if secure == nil {
			o = append(o, otlploggrpc.WithInsecure())
		} else {
			o = append(o, otlploggrpc.WithTLSCredentials(credentials.NewTLS(secure)))
		}
		return otlploggrpc.New(ctx, o...)
	}
	o := []otlploghttp.Option{
		otlploghttp.WithEndpoint(s.URL.Host), otlploghttp.WithURLPath(s.URL.Path), otlploghttp.WithHeaders(s.Headers), otlploghttp.WithTimeout(s.Timeout),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryFor}),
		otlploghttp.WithCompression(otlploghttp.Compression(compression(s))),
	}
	if secure == nil {
		o = append(o, otlploghttp.WithInsecure())
	} else {
		o = append(o, otlploghttp.WithTLSClientConfig(secure))
	}
	return otlploghttp.New(ctx, o...)
}

func newMetrics(ctx context.Context, s *settings.Signal) (sdkmetric.Exporter, error) {
	secure, err := tlsOf(s)
	if err != nil {
		return nil, err
	}
	if s.Protocol == settings.ProtocolGRPC {
		o := []otlpmetricgrpc.Option{
			otlpmetricgrpc.WithEndpoint(s.URL.Host), otlpmetricgrpc.WithHeaders(s.Headers), otlpmetricgrpc.WithTimeout(s.Timeout),
			otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryFor}),
		}
		if s.Compress {
			o = append(o, otlpmetricgrpc.WithCompressor("gzip"))
		}
		if secure == nil {
			o = append(o, otlpmetricgrpc.WithInsecure())
		} else {
			o = append(o, otlpmetricgrpc.WithTLSCredentials(credentials.NewTLS(secure)))
		}
		return otlpmetricgrpc.New(ctx, o...)
	}
	o := []otlpmetrichttp.Option{
		otlpmetrichttp.WithEndpoint(s.URL.Host), otlpmetrichttp.WithURLPath(s.URL.Path), otlpmetrichttp.WithHeaders(s.Headers), otlpmetrichttp.WithTimeout(s.Timeout),
		otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryFor}),
		otlpmetrichttp.WithCompression(otlpmetrichttp.Compression(compression(s))),
	}
	if secure == nil {
		o = append(o, otlpmetrichttp.WithInsecure())
	} else {
		o = append(o, otlpmetrichttp.WithTLSClientConfig(secure))
	}
	return otlpmetrichttp.New(ctx, o...)
}

// compression is a compression for HTTP, which is the same number in all packages.
func compression(s *settings.Signal) int {
	if s.Compress {
		return int(otlptracehttp.GzipCompression)
	}
	return int(otlptracehttp.NoCompression)
}

// tlsOf returns how a connection is secured, or nil if it is not.
func tlsOf(s *settings.Signal) (*tls.Config, error) {
	if s.URL.Scheme != "https" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.Authorities != "" {
		text, err := os.ReadFile(s.Authorities)
		if err != nil {
			return nil, fmt.Errorf("certificates that a collector is trusted by: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("certificates that a collector is trusted by: %s: %w", s.Authorities, errors.New("there is none in PEM"))
		}
	}
	if s.Certificate != "" {
		own, err := tls.LoadX509KeyPair(s.Certificate, s.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate for a collector: %w", err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}
