package loopcsi

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// smallest is what mkfs.xfs still accepts with some room left for data.
const smallest = 32 << 20

// mkfs.xfs refuses less than 300 MB except for its own test suite, which sets these.
var smallVolumes = []string{"TEST_DIR=x", "TEST_DEV=x", "QA_CHECK_FS=x"}

func (d *driver) file(volume string) string {
	return filepath.Join(d.directory, filepath.Base(volume)+".img")
}

func (d *driver) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return response, nil
}

func (d *driver) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	for _, wanted := range request.GetVolumeCapabilities() {
		if unsupported(wanted) {
			return nil, status.Error(codes.InvalidArgument, "only file systems that one node mounts (ReadWriteOnce)")
		}
	}
	size := max(request.GetCapacityRange().GetRequiredBytes(), smallest)
	if err := d.format(d.file(request.GetName()), size); err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: request.GetName(), CapacityBytes: size, AccessibleTopology: []*csi.Topology{d.topology()},
	}}, nil
}

func unsupported(wanted *csi.VolumeCapability) bool {
	switch wanted.GetAccessMode().GetMode() {
	case csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER,
		csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY:
		return true
	}
	return wanted.GetBlock() != nil
}

// format makes the volume beside its place and renames it there: a call that is repeated finds all or nothing.
func (d *driver) format(path string, size int64) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	unfinished := path + ".new"
	file, err := os.Create(unfinished)
	if err == nil {
		err = errors.Join(file.Truncate(size), file.Close())
	}
	if err == nil {
		err = run(smallVolumes, "mkfs.xfs", "-q", "-f", unfinished)
	}
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	return err
}

func (d *driver) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if err := os.Remove(d.file(request.GetVolumeId())); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (d *driver) ValidateVolumeCapabilities(
	_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest,
) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	for _, wanted := range request.GetVolumeCapabilities() {
		if unsupported(wanted) {
			return &csi.ValidateVolumeCapabilitiesResponse{Message: "one node only, and no block devices"}, nil
		}
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: request.GetVolumeCapabilities()},
	}, nil
}
