{{/* The flags of `headgate serve`. */}}

{{/* Whether all connections come from the address of the client, and none from that of a node. */}}
{{- define "headgate.clientAddressIsReal" -}}
{{- $service := .Values.controller.service -}}
{{- $policies := list -}}
{{- if $service.external.enabled }}{{ $policies = append $policies $service.externalTrafficPolicy }}{{ end -}}
{{- if $service.internal.enabled }}{{ $policies = append $policies (dig "externalTrafficPolicy" $service.externalTrafficPolicy $service.internal) }}{{ end -}}
{{- $local := without $policies "Local" | empty -}}
{{- $proxied := eq "true" (include "headgate.proxyProtocol" .) -}}
{{- or $local $proxied (not $service.enabled) -}}
{{- end -}}

{{- define "headgate.proxyProtocol" -}}
{{- $flag := index .Values.controller.extraArgs "use-proxy-protocol" | toString -}}
{{- $key := index .Values.controller.config "use-proxy-protocol" | toString -}}
{{- eq "true" (ternary $flag $key (hasKey .Values.controller.extraArgs "use-proxy-protocol")) -}}
{{- end -}}

{{- define "headgate.watchedNamespace" -}}
{{- if and .Values.controller.scope.enabled (not .Values.controller.scope.namespaceSelector) -}}
{{- default (include "headgate.namespace" .) .Values.controller.scope.namespace -}}
{{- end -}}
{{- end -}}

{{/* The Service whose address Ingresses get, as NAMESPACE/NAME; "" if none. */}}
{{- define "headgate.publishService" -}}
{{- $c := .Values.controller -}}
{{- if and $c.publishService.enabled (not (hasKey $c.extraArgs "publish-status-address")) -}}
{{- $own := and $c.service.enabled (or $c.service.external.enabled $c.service.internal.enabled) -}}
{{- $name := include "headgate.fullname" . -}}
{{- if not $c.service.external.enabled }}{{ $name = printf "%s-internal" $name }}{{ end -}}
{{- default (ternary (printf "%s/%s" (include "headgate.namespace" .) $name) "" $own) $c.publishService.pathOverride -}}
{{- end -}}
{{- end -}}

{{/* The Service for requests that no rule matches, as NAMESPACE/NAME; "" if none. */}}
{{- define "headgate.defaultBackend" -}}
{{- $named := .Values.controller.defaultBackendService -}}
{{- if not .Values.defaultBackend.enabled -}}
{{- $named -}}
{{- else if $named -}}
{{- fail (printf "defaultBackend.enabled: controller.defaultBackendService names another one (%s); leave one of them out" $named) -}}
{{- else -}}
{{- include "headgate.namespace" . }}/{{ include "headgate.fullname" . }}-backend
{{- end -}}
{{- end -}}

{{/* Whether Ingresses get the addresses of nodes. */}}
{{- define "headgate.publishesNodes" -}}
{{- $else := or (include "headgate.publishService" .) (hasKey .Values.controller.extraArgs "publish-status-address") -}}
{{- and .Values.controller.reportNodeInternalIp (not $else) | ternary "true" "" -}}
{{- end -}}

{{/* What values of this chart say, as a map from flag to value. */}}
{{- define "headgate.ownFlags" -}}
{{- $c := .Values.controller -}}
http-port: {{ $c.containerPort.http }}
https-port: {{ $c.containerPort.https }}
healthz-port: {{ $c.metrics.port }}
ingress-class: {{ default $c.ingressClassResource.name $c.ingressClass }}
controller-class: {{ $c.ingressClassResource.controllerValue }}
configmap: {{ include "headgate.namespace" . }}/{{ include "headgate.fullname" . }}
shutdown-grace-period: {{ $c.shutdownGracePeriod | int64 }}s
drain-timeout: {{ $c.drainTimeout | int64 }}s
{{- if $c.watchIngressWithoutClass }}
watch-ingress-without-class: true
{{- end }}
{{- if $c.ingressClassByName }}
ingress-class-by-name: true
{{- end }}
{{- with include "headgate.watchedNamespace" . }}
watch-namespace: {{ . }}
{{- end }}
{{- if and $c.scope.enabled $c.scope.namespaceSelector }}
watch-namespace-selector: {{ $c.scope.namespaceSelector | quote }}
{{- end }}
{{- with include "headgate.publishService" . }}
publish-service: {{ . }}
{{- end }}
{{- with include "headgate.publishesNodes" . }}
report-node-internal-ip-address: {{ . }}
{{- end }}
{{- if $c.disableLeaderElection }}
disable-leader-election: true
{{- else }}
election-id: {{ include "headgate.electionID" . }}
{{- with $c.electionTTL }}
election-ttl: {{ . }}
{{- end }}
{{- end }}
{{- if $c.enableTopologyAwareRouting }}
enable-topology-aware-routing: true
{{- end }}
{{- with include "headgate.defaultBackend" . }}
default-backend-service: {{ . }}
{{- end }}
{{- end -}}

{{- define "headgate.flags" -}}
{{- $flags := include "headgate.ownFlags" . | fromYaml -}}
{{- range $flag, $value := .Values.controller.extraArgs -}}
{{- if hasKey $flags $flag -}}
{{- fail (printf "controller.extraArgs.%s: this flag comes from another value of the chart; set that one (%v)" $flag (get $flags $flag)) -}}
{{- end -}}
{{- $_ := set $flags $flag $value -}}
{{- end -}}
{{- if and (not (hasKey $flags "max-connections-per-address")) (ne "true" (include "headgate.clientAddressIsReal" .)) -}}
{{- $_ := set $flags "max-connections-per-address" 0 -}}
{{- end -}}
{{- range $flag, $value := $flags }}
- {{ printf "--%s=%s" $flag (include "headgate.text" $value) | quote }}
{{- end }}
{{- end -}}

{{/* Whether addresses that were written into the status of Ingresses are taken back by an uninstall. */}}
{{- define "headgate.withdraws" -}}
{{- $args := .Values.controller.extraArgs -}}
{{- $writes := or (include "headgate.publishService" .) (include "headgate.publishesNodes" .) (hasKey $args "publish-status-address") -}}
{{- $refused := or (eq "false" (index $args "update-status" | toString)) (eq "false" (index $args "update-status-on-shutdown" | toString)) -}}
{{- and $writes (not $refused) (not .Values.controller.disableLeaderElection) | ternary "true" "false" -}}
{{- end -}}
