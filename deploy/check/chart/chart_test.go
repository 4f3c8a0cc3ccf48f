// Package chart tests the Helm chart: it is rendered by Helm's own packages, and every
// object is decoded by the types of Kubernetes, which refuse fields that they do not have.
package chart

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"sigs.k8s.io/yaml"
)

// render renders the chart with values in YAML, checked by its schema.
func render(values string) (map[string]string, error) {
	c, err := loader.Load(filepath.Join("..", "..", "kubernetes", "holdmetrics"))
	if err != nil {
		return nil, err
	}
	var given map[string]any
	if err := yaml.Unmarshal([]byte(values), &given); err != nil {
		return nil, err
	}
	// The charts of NATS and of MongoDB's operator are fetched by the user.
	c.Metadata.Dependencies = nil
	all, err := chartutil.ToRenderValues(c, given, chartutil.ReleaseOptions{Name: "prod", Namespace: "holds", IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

// objects renders the chart and decodes every object.
func objects(t *testing.T, values string) map[string]runtime.Object {
	t.Helper()
	rendered, err := render(values)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	all := map[string]runtime.Object{}
	for name, text := range rendered {
		if strings.HasSuffix(name, ".txt") || strings.HasSuffix(name, ".tpl") {
			continue
		}
		for _, document := range strings.Split(text, "\n---") {
			if strings.TrimSpace(document) == "" {
				continue
			}
			object, kind, err := strict.Decode([]byte(document), nil, nil)
			if runtime.IsNotRegisteredError(err) { // of an operator
				u := &unstructured.Unstructured{}
				if err := yaml.UnmarshalStrict([]byte(document), &u.Object); err != nil {
					t.Fatalf("%s: %v\n%s", name, err, document)
				}
				all[u.GetKind()+"/"+u.GetName()] = u
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			meta, ok := object.(interface{ GetName() string })
			if !ok {
				t.Fatalf("%s: %s has no name", name, kind)
			}
			key := kind.Kind + "/" + meta.GetName()
			if all[key] != nil {
				t.Errorf("%s is there twice", key)
			}
			all[key] = object
		}
	}
	return all
}

const outside = `
natsClient: {url: "nats://n1:4222", creds: {secret: nats, key: gateway.creds}, ca: {secret: nats, key: ca.crt}}
mongodb: {url: {secret: mongodb, key: url}}
security: {tls: {secret: tls}}
`

// Everything that the chart can make is made of objects that Kubernetes takes.
func TestChartIsDecoded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values string
		want   []string
	}{
		"outside": {outside, []string{
			"ConfigMap/prod-holdmetrics", "Deployment/prod-holdmetrics-gateway", "Deployment/prod-holdmetrics-worker", "NetworkPolicy/prod-holdmetrics",
			"PodDisruptionBudget/prod-holdmetrics-gateway", "PodDisruptionBudget/prod-holdmetrics-worker",
			"Service/prod-holdmetrics-gateway", "Service/prod-holdmetrics-metrics", "ServiceAccount/prod-holdmetrics",
		}},
		"everything": {`
security: {tls: {secret: tls, clientCA: ca.crt}}
image: {pullSecrets: [registry], tag: v1}
settings: {MAX_CLOCK_SKEW: 5m}
nats: {enabled: true}
mongodb: {community: {enabled: true, passwordSecret: mongodb-password}}
gateway: {autoscaling: {enabled: true}, antiAffinity: hard, nodeSelector: {disk: fast}, tolerations: [{key: a, operator: Exists}], podAnnotations: {a: b}, extraEnv: [{name: LOG_LEVEL, value: DEBUG}], service: {type: LoadBalancer, annotations: {a: b}}}
worker: {autoscaling: {enabled: true}, antiAffinity: "off", extraEnv: [{name: LOG_LEVEL, value: DEBUG}]}
networkPolicy: {clients: [{podSelector: {matchLabels: {app: shop}}}], monitoring: [{namespaceSelector: {}}], extraEgress: [{ports: [{protocol: TCP, port: 443}]}]}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
`, []string{
			"ConfigMap/prod-holdmetrics", "Deployment/prod-holdmetrics-gateway", "Deployment/prod-holdmetrics-worker",
			"HorizontalPodAutoscaler/prod-holdmetrics-gateway", "HorizontalPodAutoscaler/prod-holdmetrics-worker", "MongoDBCommunity/prod-holdmetrics-mongodb",
			"NetworkPolicy/prod-holdmetrics", "PodDisruptionBudget/prod-holdmetrics-gateway", "PodDisruptionBudget/prod-holdmetrics-worker",
			"Service/prod-holdmetrics-gateway", "Service/prod-holdmetrics-metrics", "ServiceAccount/prod-holdmetrics", "ServiceMonitor/prod-holdmetrics",
		}},
		"serve": {`
mode: serve
security: {insecure: true, auth: "off"}
serviceAccount: {create: false}
networkPolicy: {enabled: false}
serve: {storage: {size: 1Gi, className: fast}}
`, []string{"ConfigMap/prod-holdmetrics", "Service/prod-holdmetrics", "Service/prod-holdmetrics-metrics", "StatefulSet/prod-holdmetrics"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := slices.Sorted(maps.Keys(objects(t, c.values)))
			if !slices.Equal(got, c.want) {
				t.Errorf("the objects are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// pods returns the pods of the objects, by the name of what makes them.
func pods(all map[string]runtime.Object) map[string]corev1.PodSpec {
	found := map[string]corev1.PodSpec{}
	for key, object := range all {
		switch o := object.(type) {
		case *appsv1.Deployment:
			found[key] = o.Spec.Template.Spec
		case *appsv1.StatefulSet:
			found[key] = o.Spec.Template.Spec
		}
	}
	return found
}

// A pod may do nothing that it need not, its secrets are files of secrets, and its probes
// ask ports that it has.
func TestPodsAreConfined(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "settings.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := string(text)
	for _, values := range []string{outside, outside + "mode: serve\n", "mode: serve\nsecurity: {tls: {secret: tls, clientCA: ca.crt}}\n"} {
		for name, pod := range pods(objects(t, values)) {
			c := pod.Containers[0]
			s, p := c.SecurityContext, pod.SecurityContext
			if s == nil || p == nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !*p.RunAsNonRoot || p.SeccompProfile == nil || len(s.Capabilities.Drop) != 1 || *pod.AutomountServiceAccountToken {
				t.Errorf("%s is not confined", name)
			}
			if c.Resources.Requests.Memory().Cmp(resource.MustParse("1Mi")) < 0 || c.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s has no memory", name)
			}
			mounted := map[string]bool{}
			for _, m := range c.VolumeMounts {
				mounted[m.Name] = true
				claims := strings.HasPrefix(name, "StatefulSet") && m.Name == "data"
				if !claims && !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
					t.Errorf("%s mounts %s, which it has not", name, m.Name)
				}
				if v := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name && v.Secret != nil }); v >= 0 && !m.ReadOnly {
					t.Errorf("%s may write %s", name, m.Name)
				}
			}
			for _, v := range pod.Volumes {
				if !mounted[v.Name] {
					t.Errorf("%s has a volume %s that nothing mounts", name, v.Name)
				}
			}
			for _, e := range c.Env {
				if !strings.Contains(known, "`"+e.Name+"`") {
					t.Errorf("%s sets %s, which no setting has", name, e.Name)
				}
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					t.Errorf("%s has a secret in its variable %s", name, e.Name)
				}
			}
			for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
				switch {
				case probe == nil:
					t.Errorf("%s has not all probes", name)
				case probe.HTTPGet == nil:
					if !strings.Contains(values, "clientCA") || probe.Exec.Command[1] != "healthcheck" {
						t.Errorf("%s is probed by %v", name, probe.Exec)
					}
				case probe.HTTPGet.Scheme != "HTTPS":
					t.Errorf("%s is probed without TLS", name)
				case !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == probe.HTTPGet.Port.StrVal }):
					t.Errorf("%s has no port %s", name, probe.HTTPGet.Port.StrVal)
				}
			}
		}
	}
}

// What selects pods selects those that the chart makes.
func TestSelectorsFit(t *testing.T) {
	t.Parallel()
	all := objects(t, outside)
	fits := func(selector, labels map[string]string) bool {
		for k, v := range selector {
			if labels[k] != v {
				return false
			}
		}
		return len(selector) > 0
	}
	for _, role := range []string{"gateway", "worker"} {
		d := all["Deployment/prod-holdmetrics-"+role].(*appsv1.Deployment)
		labels := d.Spec.Template.Labels
		m := all["Service/prod-holdmetrics-metrics"].(*corev1.Service)
		b := all["PodDisruptionBudget/prod-holdmetrics-"+role].(*policyv1.PodDisruptionBudget)
		n := all["NetworkPolicy/prod-holdmetrics"].(*networkingv1.NetworkPolicy)
		a := d.Spec.Template.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm
		for what, selector := range map[string]map[string]string{
			"deployment": d.Spec.Selector.MatchLabels, "service of metrics": m.Spec.Selector, "budget": b.Spec.Selector.MatchLabels,
			"policy": n.Spec.PodSelector.MatchLabels, "affinity": a.LabelSelector.MatchLabels,
		} {
			if !fits(selector, labels) {
				t.Errorf("the %s of the %s selects %v, and its pods have %v", what, role, selector, labels)
			}
		}
		// Who calls a gateway must not come to a worker.
		if s := all["Service/prod-holdmetrics-gateway"].(*corev1.Service); fits(s.Spec.Selector, labels) != (role == "gateway") {
			t.Errorf("the service of the gateway selects %v, and pods of the %s have %v", s.Spec.Selector, role, labels)
		}
	}
}

// Metrics have a port of their own on every pod, which asks for no key. So it is in the
// service for metrics alone, the policy opens it to the monitoring alone, and a
// ServiceMonitor scrapes nothing else, as the job that rules and alerts know.
func TestMetricsAreInside(t *testing.T) {
	t.Parallel()
	const monitored = "serviceMonitor: {enabled: true}\nnetworkPolicy: {monitoring: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}\n"
	for _, values := range []string{outside + monitored, "mode: serve\nsecurity: {tls: {secret: tls, clientCA: ca.crt}}\n" + monitored} {
		all := objects(t, values)
		for name, pod := range pods(all) {
			c := pod.Containers[0]
			address := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "METRICS_ADDRESS" && e.Value == "0.0.0.0:9090" })
			port := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == "metrics" && p.ContainerPort == 9090 })
			if address < 0 || port < 0 {
				t.Errorf("%s has no port for metrics", name)
			}
		}
		for name, object := range all {
			if s, ok := object.(*corev1.Service); ok && name != "Service/prod-holdmetrics-metrics" {
				for _, p := range s.Spec.Ports {
					if p.Name == "metrics" || p.Port == 9090 {
						t.Errorf("%s opens the metrics to those who call it", name)
					}
				}
			}
		}
		if s := all["Service/prod-holdmetrics-metrics"].(*corev1.Service); s.Spec.ClusterIP != "None" || s.Labels["holdmetrics/job"] != "holdmetrics" {
			t.Errorf("the service of metrics is %+v", s)
		}
		for _, rule := range all["NetworkPolicy/prod-holdmetrics"].(*networkingv1.NetworkPolicy).Spec.Ingress {
			opens := slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntVal == 9090 })
			monitoring := rule.From[0].NamespaceSelector != nil && rule.From[0].NamespaceSelector.MatchLabels["name"] == "monitoring"
			if opens != monitoring || opens && len(rule.Ports) != 1 {
				t.Errorf("the policy has the rule %+v", rule)
			}
		}
		spec := all["ServiceMonitor/prod-holdmetrics"].(*unstructured.Unstructured).Object["spec"].(map[string]any)
		ends := spec["endpoints"].([]any)
		if len(ends) != 1 || ends[0].(map[string]any)["port"] != "metrics" || ends[0].(map[string]any)["scheme"] != "https" || spec["jobLabel"] != "holdmetrics/job" {
			t.Errorf("the ServiceMonitor has %v", spec)
		}
	}
}

// Values that cannot work are refused with what to do, before anything is installed.
func TestWrongValuesAreRefused(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"mode: both":                         "mode",
		"gateway: {replicas: 0}\n" + outside: "replicas",
		"gatway: {}":                         "gatway",
		"settings: {max-clock-skew: 5m}":     "max-clock-skew",
		"mode: serve":                        "security.tls.secret is missing",
		"mode: serve\nsecurity: {auth: \"off\", tls: {secret: tls}}":                               "security.auth is off",
		"security: {insecure: true}\nmongodb: {url: {secret: a, key: url}}":                        "natsClient.url is missing",
		"security: {insecure: true}\nnatsClient: {url: nats://n1}":                                 "mongodb.url.secret is missing",
		"security: {insecure: true}\nnats: {enabled: true}\nmongodb: {community: {enabled: true}}": "mongodb.community.passwordSecret is missing",
	} {
		if _, err := render(values); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q gives %v, want an error with %q", values, err, want)
		}
	}
}
