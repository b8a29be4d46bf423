// A USB camera through Video4Linux, without any library. Uses the format YUYV, which nearly all USB
// cameras support.
#include "frames.hpp"

#ifndef __linux__
std::unique_ptr<Source> open_v4l2(int)
{
    throw Mistake("a camera needs OpenCV here, or Linux");
}
#else

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr unsigned BUFFERS = 4;

class Camera : public Source {
public:
    explicit Camera(const std::string &path) : path_(path)
    {
        file_ = open(path.c_str(), O_RDWR);
        if (file_ < 0)
            throw Mistake(path + ": " + std::strerror(errno) + "; is there a camera?");
        try {
            start();
        } catch (...) {
            end();
            throw;
        }
    }
    ~Camera() override { end(); }
    Camera(const Camera &) = delete;
    Camera &operator=(const Camera &) = delete;

    bool next(Frame &frame) override
    {
        v4l2_buffer buffer = described(0);
        call(VIDIOC_DQBUF, &buffer, "the camera gives no more frames");
        const std::size_t row_bytes = format_.bytesperline;
        frame.rows = static_cast<int>(format_.height);
        frame.columns = static_cast<int>(format_.width);
        frame.rgb.resize(3 * static_cast<std::size_t>(frame.rows) * format_.width);
        const auto *bytes = static_cast<const std::uint8_t *>(memory_.at(buffer.index).start);
        std::uint8_t *to = frame.rgb.data();
        for (unsigned y = 0; y < format_.height; y++)
            for (unsigned x = 0; x < format_.width; x++, to += 3) {
                // Two pixels share their chroma: luma, blue, luma, red.
                const std::uint8_t *pair = bytes + y * row_bytes + x / 2 * 4;
                rgb_of_yuv(pair[x % 2 * 2], pair[1], pair[3], to);
            }
        call(VIDIOC_QBUF, &buffer, "the camera takes its memory no more");
        frame.name = "frame " + std::to_string(number_++);
        return true;
    }
    bool live() const override { return true; }

private:
    struct Memory {
        void *start;
        std::size_t bytes;
    };

    void call(unsigned long request, void *argument, const char *what)
    {
        int status;
        do
            status = ioctl(file_, request, argument);
        while (status < 0 && errno == EINTR && !ended_by_signal);
        if (status < 0)
            throw Mistake(path_ + ": " + what + " (" + std::strerror(errno) + ")");
    }

    static v4l2_buffer described(unsigned index)
    {
        v4l2_buffer buffer{};
        buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        buffer.memory = V4L2_MEMORY_MMAP;
        buffer.index = index;
        return buffer;
    }

    void start()
    {
        v4l2_format wanted{};
        wanted.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        wanted.fmt.pix.width = 640;
        wanted.fmt.pix.height = 480;
        wanted.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
        call(VIDIOC_S_FMT, &wanted, "not a camera");
        format_ = wanted.fmt.pix;
        // A driver replaces a size or format that it does not support by one that it does.
        if (format_.pixelformat != V4L2_PIX_FMT_YUYV || format_.width % 2 ||
            format_.bytesperline < 2 * format_.width)
            throw Mistake(path_ + ": the camera has no YUYV; build this program with OpenCV");

        v4l2_requestbuffers request{};
        request.count = BUFFERS;
        request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        request.memory = V4L2_MEMORY_MMAP;
        call(VIDIOC_REQBUFS, &request, "no memory from the camera");
        for (unsigned i = 0; i < request.count; i++) {
            v4l2_buffer buffer = described(i);
            call(VIDIOC_QUERYBUF, &buffer, "no memory from the camera");
            if (buffer.length < std::size_t{format_.bytesperline} * format_.height)
                throw Mistake(path_ + ": the camera's memory is smaller than its frames");
            void *start = mmap(nullptr, buffer.length, PROT_READ, MAP_SHARED, file_,
                static_cast<off_t>(buffer.m.offset));
            if (start == MAP_FAILED)
                throw Mistake(path_ + ": no memory from the camera");
            memory_.push_back({start, buffer.length});
            call(VIDIOC_QBUF, &buffer, "no memory from the camera");
        }
        int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        call(VIDIOC_STREAMON, &type, "the camera does not start");
    }

    void end()
    {
        int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        ioctl(file_, VIDIOC_STREAMOFF, &type);
        for (const Memory &each : memory_)
            munmap(each.start, each.bytes);
        close(file_);
    }

    std::string path_;
    int file_ = -1;
    long number_ = 0;
    v4l2_pix_format format_{};
    std::vector<Memory> memory_;
};

} // namespace

std::unique_ptr<Source> open_v4l2(int index)
{
    return std::make_unique<Camera>("/dev/video" + std::to_string(index));
}
#endif
