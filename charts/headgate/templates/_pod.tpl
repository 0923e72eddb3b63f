{{/* What a Deployment and a DaemonSet have in common: their labels, and the pod. */}}

{{- define "headgate.workload" -}}
{{- $c := .Values.controller -}}
metadata:
  {{- include "headgate.metadata" (dict "root" . "labels" $c.labels "annotations" $c.annotations) | nindent 2 }}
spec:
  revisionHistoryLimit: {{ .Values.revisionHistoryLimit }}
  minReadySeconds: {{ $c.minReadySeconds }}
  selector:
    matchLabels:
      {{- include "headgate.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- merge (include "headgate.labels" . | fromYaml) $c.podLabels | toYaml | nindent 8 }}
      {{- with $c.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "headgate.pod" . | nindent 6 }}
{{- end -}}

{{- define "headgate.pod" -}}
{{- $c := .Values.controller -}}
{{- with include "headgate.pullSecrets" . }}
{{- . }}
{{ end -}}
serviceAccountName: {{ include "headgate.serviceAccountName" . }}
automountServiceAccountToken: {{ .Values.serviceAccount.automountServiceAccountToken }}
terminationGracePeriodSeconds: {{ include "headgate.gracePeriod" . }}
dnsPolicy: {{ default (ternary "ClusterFirstWithHostNet" "ClusterFirst" $c.hostNetwork) $c.dnsPolicy }}
{{- if $c.hostNetwork }}
hostNetwork: true
{{- end }}
{{- $spread := list (dict "topologyKey" "kubernetes.io/hostname" "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway"
    "labelSelector" (dict "matchLabels" (include "headgate.selectorLabels" . | fromYaml))) }}
{{- $set := pick $c "dnsConfig" "hostAliases" "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" }}
{{- $_ := set $set "topologySpreadConstraints" (default $spread $c.topologySpreadConstraints) }}
{{- $_ := set $set "securityContext" (include "headgate.podSecurityContext" . | fromYaml) }}
{{- $_ := set $set "initContainers" $c.extraInitContainers }}
{{- $_ := set $set "volumes" $c.extraVolumes }}
{{- include "headgate.setOnes" $set }}
containers:
  - {{ include "headgate.container" . | indent 4 | trim }}
  {{- with $c.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "headgate.container" -}}
{{- $c := .Values.controller -}}
name: controller
image: {{ include "headgate.image" (dict "root" . "image" $c.image) | quote }}
imagePullPolicy: {{ $c.image.pullPolicy }}
args:
  - serve
  {{- include "headgate.flags" . | trim | nindent 2 }}
env:
  {{- include "headgate.env" . | nindent 2 }}
ports:
  - name: http
    containerPort: {{ $c.containerPort.http }}
    protocol: TCP
    {{- if $c.hostPort.enabled }}
    hostPort: {{ $c.hostPort.ports.http }}
    {{- end }}
  - name: https
    containerPort: {{ $c.containerPort.https }}
    protocol: TCP
    {{- if $c.hostPort.enabled }}
    hostPort: {{ $c.hostPort.ports.https }}
    {{- end }}
  - name: metrics
    containerPort: {{ $c.metrics.port }}
    protocol: TCP
{{- $set := pick $c "livenessProbe" "readinessProbe" "startupProbe" "lifecycle" "resources" "resizePolicy" }}
{{- $_ := set $set "securityContext" $c.containerSecurityContext }}
{{- $_ := set $set "volumeMounts" $c.extraVolumeMounts }}
{{- include "headgate.setOnes" $set }}
{{- end -}}

{{- define "headgate.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_IPS
  valueFrom: {fieldRef: {fieldPath: status.podIPs}}
{{- if .Values.controller.enableTopologyAwareRouting }}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- end }}
{{- with .Values.controller.extraEnvs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Those keys of a map that hold something. */}}
{{- define "headgate.setOnes" -}}
{{- range $key, $value := . }}
{{- with $value }}
{{ dict $key . | toYaml }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "headgate.podSecurityContext" -}}
{{- $sysctls := list -}}
{{- range $name, $value := .Values.controller.sysctls -}}
{{- $sysctls = append $sysctls (dict "name" $name "value" (include "headgate.text" $value)) -}}
{{- end -}}
{{- toYaml (ternary (merge (dict "sysctls" $sysctls) .Values.controller.podSecurityContext) .Values.controller.podSecurityContext (gt (len $sysctls) 0)) -}}
{{- end -}}

{{- define "headgate.gracePeriod" -}}
{{- $c := .Values.controller -}}
{{- default (add $c.shutdownGracePeriod $c.drainTimeout 10) $c.terminationGracePeriodSeconds -}}
{{- end -}}
