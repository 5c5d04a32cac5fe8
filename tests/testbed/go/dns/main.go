// Command dns is CoreDNS with only the plugins this cluster's configuration names: a third of the usual build.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	// the order in which plugins see a query
	dnsserver.Directives = []string{"health", "ready", "errors", "cache", "template", "kubernetes"}
	coremain.Run()
}
