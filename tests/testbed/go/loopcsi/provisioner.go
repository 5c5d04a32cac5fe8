package loopcsi

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const fileSystem = "xfs"

// accessModes are those that Kubernetes' csi-provisioner asks for if a driver has SINGLE_NODE_MULTI_WRITER.
var accessModes = map[core.PersistentVolumeAccessMode]csi.VolumeCapability_AccessMode_Mode{
	core.ReadWriteOnce:    csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER,
	core.ReadWriteOncePod: csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
	core.ReadOnlyMany:     csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY,
	core.ReadWriteMany:    csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER,
}

// provisioner translates between claims and CSI calls.
type provisioner struct {
	driver csi.ControllerClient
}

// Provision makes and deletes volumes as claims ask for, until the process ends. The controller, its events and its
// finalizers are those of the library on which Kubernetes' own csi-provisioner is built.
func Provision(arguments []string) error {
	flags := flag.NewFlagSet("loop-provisioner", flag.ContinueOnError)
	socket := flags.String("socket", "", "the driver's socket")
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient("unix://"+*socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	ctx := context.Background()
	controller.NewProvisionController(
		ctx, client, Name, &provisioner{driver: csi.NewControllerClient(connection)},
		controller.LeaderElection(false),
		controller.AddFinalizer(true),
		// as csi-provisioner does: repeat without end, first after a second
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Second, 5*time.Minute)),
	).Run(ctx)
	return nil
}

func (p *provisioner) Provision(
	ctx context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	claim := options.PVC.Spec
	if claim.DataSource != nil || claim.DataSourceRef != nil || claim.Selector != nil {
		return nil, controller.ProvisioningFinished, errors.New("claims with a data source or a selector are not supported")
	}
	requested := claim.Resources.Requests[core.ResourceStorage]
	response, err := p.driver.CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name:               options.PVName,
		CapacityRange:      &csi.CapacityRange{RequiredBytes: requested.Value()},
		VolumeCapabilities: capabilities(claim),
	})
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	made := response.GetVolume()
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   claim.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: *resource.NewQuantity(made.GetCapacityBytes(), resource.BinarySI)},
			MountOptions:                  options.StorageClass.MountOptions,
			NodeAffinity:                  affinity(made.GetAccessibleTopology()),
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			PersistentVolumeSource: core.PersistentVolumeSource{CSI: &core.CSIPersistentVolumeSource{
				Driver: Name, VolumeHandle: made.GetVolumeId(), FSType: fileSystem,
			}},
			StorageClassName: options.StorageClass.Name,
			VolumeMode:       claim.VolumeMode,
		},
	}, controller.ProvisioningFinished, nil
}

func (p *provisioner) Delete(ctx context.Context, volume *core.PersistentVolume) error {
	_, err := p.driver.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: volume.Spec.CSI.VolumeHandle})
	return err
}

func capabilities(claim core.PersistentVolumeClaimSpec) []*csi.VolumeCapability {
	var wanted []*csi.VolumeCapability
	for _, mode := range claim.AccessModes {
		capability := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: accessModes[mode]}}
		if claim.VolumeMode != nil && *claim.VolumeMode == core.PersistentVolumeBlock {
			capability.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
		} else {
			capability.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fileSystem}}
		}
		wanted = append(wanted, capability)
	}
	return wanted
}

func affinity(topology []*csi.Topology) *core.VolumeNodeAffinity {
	var terms []core.NodeSelectorTerm
	for _, segments := range topology {
		var term core.NodeSelectorTerm
		for key, value := range segments.GetSegments() {
			term.MatchExpressions = append(term.MatchExpressions, core.NodeSelectorRequirement{
				Key: key, Operator: core.NodeSelectorOpIn, Values: []string{value},
			})
		}
		terms = append(terms, term)
	}
	return &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: terms}}
}
