// Package loopcsi is a CSI driver for one node: every volume is a file of its real size with an XFS in it, mounted
// through a loop device. So a full volume is really full. It knows neither snapshots nor growth: those are optional
// capabilities, to be added in controller.go when csi-snapshotter and csi-resizer are.
package loopcsi

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Name is the provisioner of the storage class.
const Name = "loop.csi.test"

const topologyKey = Name + "/node"

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	registration.UnimplementedRegistrationServer
	directory string
	node      string
	socket    string
}

// Serve answers CSI calls, and registers itself with the kubelet, until it fails.
func Serve(arguments []string) error {
	flags := flag.NewFlagSet("loop-csi", flag.ContinueOnError)
	directory := flags.String("directory", "", "where the volumes' files are")
	node := flags.String("node", "", "name of the node")
	kubelet := flags.String("kubelet", "/var/lib/kubelet", "the kubelet's directory")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *directory == "" || *node == "" {
		return errors.New("loop-csi needs --directory and --node")
	}
	if err := os.MkdirAll(*directory, 0o700); err != nil {
		return err
	}
	served := &driver{directory: *directory, node: *node, socket: filepath.Join(*kubelet, "plugins", Name, "csi.sock")}
	volumes, registrar := grpc.NewServer(), grpc.NewServer()
	csi.RegisterIdentityServer(volumes, served)
	csi.RegisterControllerServer(volumes, served)
	csi.RegisterNodeServer(volumes, served)
	registration.RegisterRegistrationServer(registrar, served)
	failed := make(chan error, 2)
	for server, path := range map[*grpc.Server]string{
		volumes:   served.socket,
		registrar: filepath.Join(*kubelet, "plugins_registry", Name+"-reg.sock"),
	} {
		listener, err := listen(path)
		if err != nil {
			return err
		}
		go func() { failed <- server.Serve(listener) }()
	}
	return <-failed
}

func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // left by a driver that was killed
	}
	return net.Listen("unix", path)
}

// run executes a program and gives its failure as a gRPC status, with what it printed.
func run(environment []string, program string, arguments ...string) error {
	command := exec.Command(program, arguments...)
	command.Env = append(os.Environ(), environment...)
	if output, err := command.CombinedOutput(); err != nil {
		return status.Errorf(codes.Internal, "%s %s: %v: %s", program, strings.Join(arguments, " "), err, output)
	}
	return nil
}

func (d *driver) topology() *csi.Topology {
	return &csi.Topology{Segments: map[string]string{topologyKey: d.node}}
}

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: Name, VendorVersion: "1"}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (d *driver) GetPluginCapabilities(
	context.Context, *csi.GetPluginCapabilitiesRequest,
) (*csi.GetPluginCapabilitiesResponse, error) {
	response := &csi.GetPluginCapabilitiesResponse{}
	for _, kind := range []csi.PluginCapability_Service_Type{
		csi.PluginCapability_Service_CONTROLLER_SERVICE,
		csi.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS,
	} {
		response.Capabilities = append(response.Capabilities, &csi.PluginCapability{
			Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: kind}},
		})
	}
	return response, nil
}

func (d *driver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: Name, Endpoint: d.socket, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (d *driver) NotifyRegistrationStatus(
	_ context.Context, answer *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	fmt.Println("registered with the kubelet:", answer.PluginRegistered, answer.Error)
	return &registration.RegistrationStatusResponse{}, nil
}
