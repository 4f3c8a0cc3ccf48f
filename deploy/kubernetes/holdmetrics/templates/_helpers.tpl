{{- define "holdmetrics.name" -}}
{{- if contains "holdmetrics" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-holdmetrics" (.Release.Name | trunc 40 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "holdmetrics.selector" -}}
app.kubernetes.io/name: holdmetrics
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "holdmetrics.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "holdmetrics.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "holdmetrics.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "holdmetrics.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "holdmetrics.natsURL" -}}
{{- if .Values.natsClient.url }}{{ .Values.natsClient.url }}
{{- else if .Values.nats.enabled }}nats://{{ .Release.Name }}-nats:4222
{{- else }}{{ fail "natsClient.url is missing: name the NATS servers, or turn nats.enabled on" }}{{ end }}
{{- end }}

{{/* The secret with the URL of MongoDB: of the values, or the one that the operator writes. */}}
{{- define "holdmetrics.mongodbSecret" -}}
{{- if .Values.mongodb.url.secret }}{{ .Values.mongodb.url.secret }}
{{- else if .Values.mongodb.community.enabled }}{{ include "holdmetrics.name" . }}-mongodb-{{ .Values.mongodb.database }}-holdmetrics
{{- else }}{{ fail "mongodb.url.secret is missing: name a secret with the URL of MongoDB, or turn mongodb.community.enabled on" }}{{ end }}
{{- end }}

{{- define "holdmetrics.mongodbKey" -}}
{{- if .Values.mongodb.url.secret }}{{ .Values.mongodb.url.key }}{{ else }}connectionString.standard{{ end }}
{{- end }}

{{/* A process that nobody may reach does not start. Say so before it is installed. */}}
{{- define "holdmetrics.checkSecurity" -}}
{{- $s := .Values.security }}
{{- if and (not $s.insecure) (not $s.tls.secret) }}{{ fail "security.tls.secret is missing: name a secret with tls.crt and tls.key, or set security.insecure" }}{{ end }}
{{- if and (not $s.insecure) (ne $s.auth "on") (not $s.tls.clientCA) }}{{ fail "security.auth is off: turn it on, name security.tls.clientCA, or set security.insecure" }}{{ end }}
{{- end }}

{{/* Variables of every process. Secrets are files, so no variable has one. */}}
{{- define "holdmetrics.env" -}}
- name: AUTH
  value: {{ .Values.security.auth | quote }}
{{- if .Values.security.insecure }}
- name: INSECURE
  value: "true"
{{- end }}
{{- with .Values.security.tls.secret }}
- name: TLS_CERT
  value: /run/secrets/tls/tls.crt
- name: TLS_KEY
  value: /run/secrets/tls/tls.key
{{- end }}
{{- with .Values.security.tls.clientCA }}
- name: TLS_CLIENT_CA
  value: /run/secrets/tls/{{ . }}
{{- end }}
{{- end }}

{{- define "holdmetrics.clusterEnv" -}}
- name: NATS_URL
  value: {{ include "holdmetrics.natsURL" . | quote }}
- name: REPLICAS
  value: {{ .Values.natsClient.replicas | quote }}
- name: MONGODB_DB
  value: {{ .Values.mongodb.database | quote }}
- name: MONGODB_URL_FILE
  value: /run/secrets/mongodb/{{ include "holdmetrics.mongodbKey" . }}
{{- if .Values.natsClient.creds.secret }}
- name: NATS_CREDS
  value: /run/secrets/nats/{{ .Values.natsClient.creds.key }}
{{- end }}
{{- if .Values.natsClient.ca.secret }}
- name: NATS_TLS_CA
  value: /run/secrets/nats-ca/{{ .Values.natsClient.ca.key }}
{{- end }}
{{- end }}

{{- define "holdmetrics.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.security.tls.secret }}
- {name: tls, mountPath: /run/secrets/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "holdmetrics.clusterMounts" -}}
- {name: mongodb, mountPath: /run/secrets/mongodb, readOnly: true}
{{- if .Values.natsClient.creds.secret }}
- {name: nats, mountPath: /run/secrets/nats, readOnly: true}
{{- end }}
{{- if .Values.natsClient.ca.secret }}
- {name: nats-ca, mountPath: /run/secrets/nats-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "holdmetrics.volumes" -}}
- name: tmp
  emptyDir: {}
{{- with .Values.security.tls.secret }}
- name: tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "holdmetrics.clusterVolumes" -}}
- name: mongodb
  secret: {secretName: {{ include "holdmetrics.mongodbSecret" . | quote }}, defaultMode: 0440}
{{- with .Values.natsClient.creds.secret }}
- name: nats
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .Values.natsClient.ca.secret }}
- name: nats-ca
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "holdmetrics.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "holdmetrics.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* A probe: by HTTP, or by the program itself where clients need a certificate. */}}
{{- define "holdmetrics.probe" -}}
{{- $ready := eq .path "/readyz" }}
{{- if .root.Values.security.tls.clientCA }}
exec:
  command: [/usr/bin/holdmetrics, healthcheck, {{ .role }}{{ if $ready }}, --ready{{ end }}]
{{- else }}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
  {{- if .root.Values.security.tls.secret }}
  scheme: HTTPS
  {{- end }}
{{- end }}
timeoutSeconds: 5
{{- end }}

{{- define "holdmetrics.probes" -}}
startupProbe:
  {{- include "holdmetrics.probe" (dict "root" .root "role" .role "port" .port "path" "/healthz") | nindent 2 }}
  periodSeconds: 2
  failureThreshold: 150
livenessProbe:
  {{- include "holdmetrics.probe" (dict "root" .root "role" .role "port" .port "path" "/healthz") | nindent 2 }}
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  {{- include "holdmetrics.probe" (dict "root" .root "role" .role "port" .port "path" "/readyz") | nindent 2 }}
  periodSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "holdmetrics.affinity" -}}
{{- $selector := dict "matchLabels" (merge (include "holdmetrics.selector" .root | fromYaml) (dict "app.kubernetes.io/component" .role)) }}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" $selector }}
{{- if eq .kind "hard" }}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      {{- list $term | toYaml | nindent 6 }}
{{- else if eq .kind "soft" }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- list (dict "weight" 100 "podAffinityTerm" $term) | toYaml | nindent 6 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      {{- toYaml $selector | nindent 6 }}
{{- end }}

{{/* What the pods of all kinds have in common. */}}
{{- define "holdmetrics.pod" -}}
serviceAccountName: {{ include "holdmetrics.serviceAccount" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "holdmetrics.podSecurity" .root | nindent 2 }}
# A worker flushes and hands over; a gateway lets its requests end.
terminationGracePeriodSeconds: 90
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "holdmetrics.container" -}}
image: {{ printf "%s:%s" .root.Values.image.repository (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "holdmetrics.containerSecurity" .root | nindent 2 }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
envFrom:
  - configMapRef:
      name: {{ include "holdmetrics.name" .root }}
{{- end }}
