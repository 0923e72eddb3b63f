{{/* Names and labels, and who refers to what. */}}

{{- define "headgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters, so that every suffix fits. */}}
{{- define "headgate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $both := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $both .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "headgate.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "headgate.serviceAccountName" -}}
{{- default (ternary (include "headgate.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* It has a note for the next leader, so that it must not change its name when everything else does. */}}
{{- define "headgate.electionID" -}}
{{- default (printf "%s-leader" .Release.Name) .Values.controller.electionID -}}
{{- end -}}

{{- define "headgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "headgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "headgate.labels" -}}
{{ include "headgate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ include "headgate.name" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object. Call with a dict: root, and if need be suffix, namespace, labels (which win), annotations. */}}
{{- define "headgate.metadata" -}}
name: {{ include "headgate.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ default (include "headgate.namespace" .root) .namespace }}
labels:
  {{- merge (deepCopy (default dict .labels)) (include "headgate.labels" .root | fromYaml) | toYaml | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A value as text. Numbers are floating-point to templates, which write large ones with an exponent. */}}
{{- define "headgate.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* The reference of an image. Call with a dict: root, image. */}}
{{- define "headgate.image" -}}
{{- $registry := default .root.Values.global.image.registry .image.registry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .root.Chart.AppVersion .image.tag }}{{ end -}}
{{- end -}}

{{- define "headgate.pullSecrets" -}}
{{- with concat .Values.imagePullSecrets .Values.global.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
